"""What does a head look at? Every head's pattern on a text, stage by stage, and what the head is worth.

Shapes: L layers, nh heads of size hs, T positions.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.chain import Chain, Floats, work_out
from clearhead.inspection.heads import (
    HABITS,
    HeadScore,
    HeadScores,
    Windows,
    bits_saved,
    distances,
    entropy,
    head_scores,
    measured_windows,
    unscaled,
)
from clearhead.inspection.passage import Passage, find_passage, gpt_of
from clearhead.inspection.trace import BlockTrace, Trace, agreement, trace
from clearhead.inspection.view import HIDDEN, View
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class OnText:
    """One head on the text that is shown, means over its positions."""

    layer: int
    head: int
    entropy: float
    """Bits."""
    entropy_unscaled: float
    """Bits, without the division by sqrt(head size)."""
    distance: float
    """Tokens back."""


@dataclass(frozen=True)
class Attention(View):
    """All heads of a GPT on one text."""

    run: str
    model: str
    tokens: tuple[str, ...]
    """(T,)"""
    notes: tuple[str, ...]
    layers: int
    heads: int
    head_size: int
    logits_error: float
    """Largest difference of the readable path's logits from the model's own."""
    attention_error: float
    """The same of what the heads of a layer add together, over all layers."""
    on_text: tuple[OnText, ...]
    scores: HeadScores | None
    """None beside a chain, unmeasured, and for a text of one token without the run's own text."""
    chain: Chain | None
    """Of the head that was asked for."""
    saved: Floats | None
    """(T - 1,) bits that each next token of the text would cost more without the head that was asked for."""
    shown_layers: tuple[int, ...]
    wei: Floats = field(metadata=HIDDEN)
    """(L, nh, T, T)"""

    @property
    def title(self) -> str:
        """What, of which run, on how much."""
        which = (
            f"layer {self.chain.layer}, head {self.chain.head}"
            if self.chain
            else f"{self.layers} layers of {self.heads} heads"
        )
        return f"Attention of {self.run}: {which}, on {len(self.tokens):,} tokens"

    def __str__(self) -> str:
        check = (
            f"check: the heads, added up, differ from the model's own attention by {self.attention_error:.1e} at most, "
            f"the logits by {self.logits_error:.1e}"
        )
        parts = [self.chain.table(self.tokens), *self._worth(self.chain.position)] if self.chain else [self._table()]
        return "\n".join([*self.notes, *parts, check])

    def _worth(self, t: int) -> list[str]:
        """What the head is worth where the text goes on."""
        if self.saved is None or t == len(self.saved):
            return []
        costs = f"{abs(self.saved[t]):.2f} bits {'more' if self.saved[t] >= 0 else 'less'}"
        return [f"the token that came, {self.tokens[t + 1]}, would cost {costs} without this head"]

    def _table(self) -> str:
        shown = [place for place in self.on_text if place.layer in self.shown_layers]
        if self.scores is None:
            rows = [("head", "entropy", "unscaled", "distance", ""), *((*_on_text(place), "") for place in shown)]
            return "\n".join([*aligned(rows), "entropy in bits, distance in tokens: means over this text"])
        on_text = {(place.layer, place.head): place for place in shown}
        heads = [head for head in self.scores.heads if head.layer in self.shown_layers]
        rows = [_HEAD[0], _HEAD[1], *(_cells(head, on_text[head.layer, head.head]) for head in heads)]
        chance = ("chance", "", "", "", "", *(_share(self.scores.chance[name]) for name in HABITS), "", "", "")
        return "\n".join([*aligned([*rows, chance]), *self._legend(self.scores)])

    def _legend(self, scores: HeadScores) -> list[str]:
        return [
            f"measured on {scores.measured_on}: {scores.loss:.4f} nats per token with all heads",
            "loss: nats per token more when what the head adds is left out (zero; heads stand in this order) or is its",
            "mean everywhere (mean); +- is the standard error over windows",
            "entropy in bits, unscaled without the division by sqrt(head size); distance in tokens back",
            "previous, duplicate, induction: mean weight on the token before, on earlier copies of the current token,",
            "on what followed those; chance is attention spread evenly over the past",
        ]


_HEAD = (
    ("", "this text", "measured", "", "", "", "", "", "loss", "loss", ""),
    ("head", "entropy", "entropy", "unscaled", "distance", *HABITS, "zero", "mean", ""),
)


def _on_text(place: OnText) -> tuple[str, ...]:
    figures = (place.entropy, place.entropy_unscaled, place.distance)
    return f"{place.layer}.{place.head}", *(f"{figure:.2f}" for figure in figures)


def _cells(score: HeadScore, place: OnText) -> tuple[str, ...]:
    figures = (score.entropy, score.entropy_unscaled, score.distance)
    habits = (score.previous, score.duplicate, score.induction)
    worth = ((score.zero, score.zero_error), (score.mean, score.mean_error))
    changes = (f"{change:+.4f}" + ("" if error is None else f" +- {error:.4f}") for change, error in worth)
    return (*_on_text(place)[:2], *(f"{figure:.2f}" for figure in figures), *map(_share, habits), *changes, "")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def attention(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    data: TokenDataset | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    position: int = -1,
    measure: bool = True,
    run: str = "the run",
) -> Attention:
    """Every head on a text (by default the validation text's beginning), and what each is worth on `data`.

    Without `data` the heads are measured on the text itself; without `measure`, which takes longest, not at all. With a
    layer and a head, their chain instead.
    ConfigError for a model without heads, a layer, head or position that is not there, and an empty text.
    """
    gpt, notes = gpt_of(model, "heads")
    _check(gpt, layer, head)
    passage = find_passage(text, model, tokenizer, data)
    seen = trace(gpt, passage.idx)
    windows, said = _windows(gpt, passage, data) if measure and head is None else (None, ())
    chain = (
        work_out(seen.blocks[layer], head, passage.place(position)) if layer is not None and head is not None else None
    )
    saved = bits_saved(seen, chain.layer, chain.head).numpy().astype(np.float32) if chain else None
    return Attention(
        run=run,
        model=model.kind,
        tokens=passage.tokens,
        notes=(*notes, *passage.notes, *said),
        layers=len(seen.blocks),
        heads=gpt.config.n_head,
        head_size=gpt.config.head_size,
        logits_error=seen.error,
        attention_error=_check_layers(seen),
        on_text=tuple(place for block in seen.blocks for place in _places(block)),
        scores=head_scores(gpt, windows) if windows else None,
        chain=chain,
        saved=saved,
        shown_layers=tuple(range(len(seen.blocks))) if layer is None else (layer,),
        wei=torch.stack([block.wei[0] for block in seen.blocks]).cpu().numpy().astype(np.float32),
    )


def _check(gpt: GPTLanguageModel, layer: int | None, head: int | None) -> None:
    for what, value, count in (("layer", layer, gpt.config.n_layer), ("head", head, gpt.config.n_head)):
        if value is not None and not 0 <= value < count:
            raise ConfigError(f"there is no {what} {value}; {what}s are 0 .. {count - 1}")
    if head is not None and layer is None:
        raise ConfigError(f"head {head} of which layer? add --layer, one of 0 .. {gpt.config.n_layer - 1}")


def _windows(
    gpt: GPTLanguageModel, passage: Passage, data: TokenDataset | None
) -> tuple[Windows | None, tuple[str, ...]]:
    """What heads are measured on, and a note where that is not the run's text."""
    if data is not None:
        return measured_windows(gpt, data), ()
    if len(passage) < 2:
        return None, ()
    idx = passage.idx.to(gpt.device)
    return Windows(idx[:, :-1], idx[:, 1:], "the text given"), (
        "the run's text is not at hand: heads are measured on this",
    )


def _check_layers(seen: Trace) -> float:
    """The readable attention against the packed one, layer by layer."""
    with evaluating(seen.model):
        return max(
            agreement(block.attention, block.block.sa(block.ln1), f"the attention of layer {block.layer}")
            for block in seen.blocks
        )


def _places(block: BlockTrace) -> list[OnText]:
    figures = zip(
        entropy(block.wei).mean((0, 2)).tolist(),
        entropy(unscaled(block)).mean((0, 2)).tolist(),
        distances(block.wei).mean((0, 2)).tolist(),
        strict=True,
    )
    return [OnText(block.layer, head, *three) for head, three in enumerate(figures)]
