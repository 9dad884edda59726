"""One step: what happens to a text on its way to a loss, and what the loss does to the weights.

Forward, under the lecture's names, with shapes and numbers; backward, on a copy of the weights: the model that is
looked at does not change. Shapes: T positions, C = n_embd, nh heads of size hs, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.config import TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.backward import BigramStep, GPTStep, Memory, bigram_step, gpt_step
from clearhead.inspection.passage import Passage, find_passage, gpt_of
from clearhead.inspection.trace import BlockTrace, Trace, trace
from clearhead.inspection.view import View
from clearhead.models.base import LanguageModel, cross_entropy
from clearhead.models.bigram import BigramLanguageModel
from clearhead.tokenizers.base import Tokenizer

FIRST = 4
"""Numbers of a stage that are shown."""
CHOICES = 5
"""Next tokens that are shown."""


@dataclass(frozen=True)
class Stage:
    """One stage of the forward pass."""

    name: str
    """As in the lecture's code."""
    words: str
    shape: tuple[int, ...]
    first: tuple[float, ...]
    """The first numbers of the position that is shown."""
    size: float
    """Root mean square over all finite numbers."""
    block: int | None = None


@dataclass(frozen=True)
class Step(View):
    """One pass of one text."""

    run: str
    model: str
    tokens: tuple[str, ...]
    """(T,)"""
    notes: tuple[str, ...]
    stages: tuple[Stage, ...]
    shown_block: int | None
    """Whose stages are printed one by one; None for a bigram."""
    choices: tuple[tuple[str, float], ...]
    """The likeliest tokens after the last position, with probabilities."""
    losses: tuple[float, ...]
    """(T - 1,) nats of each next token of the text."""
    loss: float | None
    """Their mean, the model's own; None for a single token."""
    logits_error: float
    """Largest difference of the traced logits from the model's own."""
    backward: BigramStep | GPTStep | None

    @property
    def title(self) -> str:
        """What, of which run, on how much."""
        return f"One step of {self.run} on {len(self.tokens):,} tokens"

    def __str__(self) -> str:
        parts = ["\n".join([*self.notes, *self._forward()])]
        if self.backward:
            parts.append(str(self.backward))
        return "\n\n".join(parts)

    def _forward(self) -> list[str]:
        shown = [
            stage for stage in self.stages if stage.block in (None, self.shown_block) or stage.name == "x = x + ffwd"
        ]
        rows = [("", "shape", "size", f"position {len(self.tokens) - 1}", "")]
        rows += [_cells(stage) for stage in shown]
        likely = "  ".join(f"{token} {p:.1%}" for token, p in self.choices)
        lines = [
            f"forward: {''.join(self.tokens[-60:])}",
            *aligned(rows),
            "size: root mean square; the numbers are the first of the last position (of head 0)",
            f"next, after {self.tokens[-1]}: {likely}",
        ]
        if self.loss is not None:
            lines.append(
                "loss: y is the text one token later; mean of -log softmax(logits)[y] "
                f"over {len(self.losses):,} positions = {self.loss:.4f} nats"
            )
        return [*lines, f"check: these stages end in the model's own logits, to {self.logits_error:.1e}"]


def _cells(stage: Stage) -> tuple[str, ...]:
    name = stage.name if stage.block is None else f"block {stage.block}: {stage.name}"
    whole = all(value == int(value) for value in stage.first if value == value) and stage.name in ("idx", "y")
    first = " ".join(
        "-inf" if value == -torch.inf else f"{value:.0f}" if whole else f"{value:+.3f}" for value in stage.first
    )
    size = "" if whole else f"{stage.size:.3f}"
    return name, "x".join(map(str, stage.shape)), size, first, stage.words


def step(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    data: TokenDataset | None = None,
    *,
    block: int = 0,
    backward: bool = False,
    train: TrainConfig | None = None,
    memory: Memory | None = None,
    run: str = "the run",
) -> Step:
    """Send a text (by default the validation text's beginning) through a bigram or a GPT; `block` is shown in detail.

    With `backward` one training step is made on a copy: plain SGD for a bigram, for a GPT the optimizer of `train` with
    what it remembers (`memory`). ConfigError for a counted model, an empty text, a block that is not there, and for a
    backward step on a single token.
    """
    passage = find_passage(text, model, tokenizer, data)
    if backward and len(passage) < 2:
        raise ConfigError("one token has no next one to learn from; give two or more")
    if isinstance(model, BigramLanguageModel):
        notes, shown, (stages, logits, error) = (), None, _bigram_stages(model, passage)
        back = bigram_step(model, passage) if backward else None
    else:
        gpt, notes = gpt_of(model, "steps")
        if not 0 <= block < gpt.config.n_layer:
            raise ConfigError(f"there is no layer {block}; layers are 0 .. {gpt.config.n_layer - 1}")
        seen = trace(gpt, passage.idx)
        stages, logits, error, shown = tuple(_gpt_stages(seen)), seen.logits, seen.error, block
        back = gpt_step(gpt, passage, train or TrainConfig(), memory) if backward else None
    targets = passage.idx[:, 1:].to(logits.device)
    losses = -logits[0, :-1].cpu().double().log_softmax(-1).gather(-1, passage.idx[0, 1:, None])[:, 0]
    probability = logits[0, -1].softmax(-1).sort(descending=True)
    likely = zip(probability.indices.tolist(), probability.values.tolist(), strict=True)
    return Step(
        run=run,
        model=model.kind,
        tokens=passage.tokens,
        notes=(*notes, *passage.notes),
        stages=stages,
        shown_block=shown,
        choices=tuple((passage.names[i], p) for i, p in list(likely)[:CHOICES]),
        losses=tuple(losses.tolist()),
        loss=float(cross_entropy(logits[:, :-1], targets)) if len(passage) > 1 else None,
        logits_error=error,
        backward=back,
    )


def _bigram_stages(model: BigramLanguageModel, passage: Passage) -> tuple[tuple[Stage, ...], Tensor, float]:
    with evaluating(model):
        idx = passage.idx.to(model.device)
        logits = model(idx).logits
        rows = model.token_embedding_table.weight[idx]
    stages = (
        _stage("idx", "the text as numbers", idx),
        _stage(
            "token_embedding_table",
            "the table: the parameters, a row for each current token",
            model.token_embedding_table.weight,
        ),
        _stage("logits", "row idx[t] of the table, looked up: nothing is multiplied", logits),
        _stage("softmax(logits)", "probabilities of the next token; rows sum to 1", logits.softmax(-1)),
    )
    return stages, logits, float((rows - logits).abs().max())


def _gpt_stages(seen: Trace) -> Iterator[Stage]:
    config = seen.model.config
    yield _stage("idx", "the text as numbers", seen.idx)
    scaled = f", times sqrt({config.n_embd})" if config.scale_embedding else ""
    yield _stage("tok_emb", f"row idx[t] of the token embedding table{scaled}", seen.token_embedding)
    if seen.position_embedding is not None:
        yield _stage("pos_emb", "row t of the position embedding table", seen.position_embedding[None])
        yield _stage("x = tok_emb + pos_emb", "the residual stream: what, and where", seen.embedding)
    for block in seen.blocks:
        yield from _block_stages(block)
    yield _stage("ln_f(x)", f"the stream normalised ({config.norm})", seen.ln_f)
    yield _stage("logits", "lm_head: a number for each token of the vocabulary", seen.logits)
    yield _stage("softmax(logits)", "probabilities of the next token; rows sum to 1", seen.logits.softmax(-1))


def _block_stages(block: BlockTrace) -> Iterator[Stage]:
    sa, at = block.block.sa, block.layer
    turned = ("normalised, " if sa.q_norm is not None else "") + (
        "turned by its position" if sa.rotary is not None else ""
    )
    so = f" ({turned.removesuffix(', ')})" if turned else ""
    yield _stage("ln1(x)", "normalised before attention", block.ln1, at)
    yield _stage("q", f"what each token looks for, head by head{so}", block.q, at)
    yield _stage("k", f"what each token offers{so}", block.k, at)
    yield _stage("v", "what each token says", block.v, at)
    yield _stage("wei = q @ k^T", "how well they meet", block.products, at)
    scaled = "wei" if sa.scale == 1 else "wei * hs**-0.5"
    masked, future = (", masked", "; the future at -inf") if sa.causal else ("", "; no mask: every token sees all")
    yield _stage(f"{scaled}{masked}", f"times {sa.scale:.4f}{future}", block.scores, at)
    yield _stage("softmax(wei)", "rows sum to 1", block.wei, at)
    yield _stage("out = wei @ v", "a weighted mean of what was said", block.out, at)
    yield _stage("proj(out)", "all heads together, back to the stream's width", block.attention, at)
    yield _stage("x = x + sa", "added to the stream", block.middle, at)
    yield _stage("ln2(x)", "normalised before the feed-forward", block.ln2, at)
    yield _stage("hidden", f"neurons after {block.block.ffwd.activation}", block.hidden, at)
    yield _stage("ffwd", "back to the stream's width", block.feed_forward, at)
    yield _stage("x = x + ffwd", "added to the stream", block.after, at)


def _stage(name: str, words: str, values: Tensor, block: int | None = None) -> Stage:
    """A stage of values (1, ..., T, n), (1, T) or (V, V), the batch of one left out of its shape."""
    values = values.detach()
    inner = values[0] if values.ndim > 2 or values.shape[0] == 1 else values
    position = inner.reshape(-1, inner.shape[-1])[inner.shape[-2] - 1] if inner.ndim > 1 else inner[-1:]
    finite = values[values.isfinite()].cpu().double()
    return Stage(
        name, words, tuple(inner.shape), tuple(position[:FIRST].tolist()), float(finite.square().mean().sqrt()), block
    )
