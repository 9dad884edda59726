"""Every number between a text and its logits, under the lecture's names: the researchers' entrance.

A trace takes the readable path (`Head`, one product after another) through the very weights of the model: there is no
second model and no hook. Its logits are held against the model's own when it is made.

Shapes: B rows, T positions, L layers, nh heads of size hs, C = n_embd, W the feed-forward's width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from clearhead.errors import ConfigError
from clearhead.evaluation.loss import evaluating
from clearhead.inspection.passage import gpt_of
from clearhead.models.attention import HeadOutput
from clearhead.models.base import LanguageModel, cross_entropy
from clearhead.models.gpt import Block, GPTLanguageModel

TOLERANCE = 1e-5
"""Of what must be equal, as a share of the largest number compared where that is above 1: float32 has 7 digits."""


class DisagreementError(AssertionError):
    """Two ways to one number do not meet: the model or the inspection is broken, and nothing is shown."""


def agreement(found: Tensor, expected: Tensor, what: str, scale: float = 1.0) -> float:
    """The largest absolute difference; DisagreementError over `TOLERANCE` times max(1, |expected|, scale)."""
    error = float((found.cpu().double() - expected.cpu().double()).abs().max())
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()), scale)
    if not error <= allowed:
        raise DisagreementError(
            f"{what}: two ways differ by {error:.2g}, more than the {allowed:.2g} that rounding explains"
        )
    return error


def attention_heads(block: Block, x: Tensor) -> tuple[HeadOutput, ...]:
    """Every head of a block over normalised x (B, T, C)."""
    return tuple(block.sa.head(h)(x) for h in range(block.sa.n_head))


def through_projection(block: Block, out: Tensor) -> Tensor:
    """What each head adds to the residual stream: out (B, nh, T, hs) -> (B, nh, T, C), without the bias of proj."""
    packed = block.sa.proj.weight.view(-1, block.sa.n_head, block.sa.head_size)  # (C, nh, hs)
    return torch.einsum("bhtd,chd->bhtc", out, packed)


@dataclass(frozen=True, eq=False)
class BlockTrace:
    """One block: communication, then computation."""

    layer: int
    block: Block
    before: Tensor
    """(B, T, C): the residual stream that comes in."""

    @cached_property
    def ln1(self) -> Tensor:
        """(B, T, C): the stream normalised, which all heads read."""
        return _quietly(self.block.ln1, self.before)

    @cached_property
    def heads(self) -> tuple[HeadOutput, ...]:
        """Head by head: q, k, v (B, T, hs), scores and wei (B, T, T), out (B, T, hs).

        q and k as they meet, normalised and rotated where the model does that.
        """
        return _quietly(attention_heads, self.block, self.ln1)

    @cached_property
    def q(self) -> Tensor:
        """(B, nh, T, hs)"""
        return torch.stack([head.q for head in self.heads], 1)

    @cached_property
    def k(self) -> Tensor:
        """(B, nh, T, hs)"""
        return torch.stack([head.k for head in self.heads], 1)

    @cached_property
    def v(self) -> Tensor:
        """(B, nh, T, hs)"""
        return torch.stack([head.v for head in self.heads], 1)

    @cached_property
    def products(self) -> Tensor:
        """(B, nh, T, T): q @ k^T, before the scale and before the future is hidden."""
        return self.q @ self.k.mT

    @cached_property
    def scores(self) -> Tensor:
        """(B, nh, T, T): q @ k^T / sqrt(hs), the future at -inf (where the model has the scale, and the mask)."""
        return torch.stack([head.scores for head in self.heads], 1)

    @cached_property
    def wei(self) -> Tensor:
        """(B, nh, T, T): the softmax of the scores; row t is what position t looks at."""
        return torch.stack([head.wei for head in self.heads], 1)

    @cached_property
    def out(self) -> Tensor:
        """(B, nh, T, hs): wei @ v."""
        return torch.stack([head.out for head in self.heads], 1)

    @cached_property
    def contributions(self) -> Tensor:
        """(B, nh, T, C): what each head adds to the stream, its out through its columns of proj."""
        return _quietly(through_projection, self.block, self.out)

    @property
    def proj_bias(self) -> Tensor | None:
        """(C,): what the attention adds whatever the heads say; None where proj has no bias."""
        bias = self.block.sa.proj.bias
        return None if bias is None else bias.detach()

    @cached_property
    def attention(self) -> Tensor:
        """(B, T, C): the contributions of all heads and the bias."""
        total = self.contributions.sum(1)
        return total if self.proj_bias is None else total + self.proj_bias

    @cached_property
    def middle(self) -> Tensor:
        """(B, T, C): the stream between attention and feed-forward."""
        return self.before + self.attention

    @cached_property
    def ln2(self) -> Tensor:
        """(B, T, C): that normalised, which the feed-forward reads."""
        return _quietly(self.block.ln2, self.middle)

    @cached_property
    def hidden(self) -> Tensor:
        """(B, T, W): the feed-forward's neurons after the non-linearity (gated ones after the gate)."""
        return _quietly(self.block.ffwd.hidden, self.ln2)

    @cached_property
    def feed_forward(self) -> Tensor:
        """(B, T, C): what the feed-forward adds to the stream, its bias included."""
        return _quietly(self.block.ffwd.proj, self.hidden)

    @cached_property
    def after(self) -> Tensor:
        """(B, T, C): the stream that goes out."""
        return self.middle + self.feed_forward


@dataclass(frozen=True, eq=False)
class Trace:
    """All intermediates of one pass. Look at them before the weights change: what was not looked at is found later."""

    model: GPTLanguageModel
    idx: Tensor
    """(B, T) int64."""
    error: float
    """The largest absolute difference between `logits` and the model's own."""
    token_embedding: Tensor
    """(B, T, C): as it enters the stream, scaled where the model scales it."""
    position_embedding: Tensor | None
    """(T, C); None where positions are rotations, or not known at all."""
    blocks: tuple[BlockTrace, ...]
    """(L,)"""

    @property
    def embedding(self) -> Tensor:
        """(B, T, C): the residual stream before the first block."""
        return self.blocks[0].before

    @property
    def final(self) -> Tensor:
        """(B, T, C): the residual stream after the last block."""
        return self.blocks[-1].after

    @cached_property
    def ln_f(self) -> Tensor:
        """(B, T, C): that normalised, which the head reads."""
        return _quietly(self.model.ln_f, self.final)

    @cached_property
    def logits(self) -> Tensor:
        """(B, T, V)"""
        return _quietly(self.model.lm_head, self.ln_f)

    @property
    def stream(self) -> tuple[tuple[str, Tensor], ...]:
        """(2 L + 1) places of the residual stream in order, each with the (B, T, C) that stands there."""
        places = [("embedding", self.embedding)]
        for block in self.blocks:
            places += [(f"attention {block.layer}", block.middle), (f"feed-forward {block.layer}", block.after)]
        return tuple(places)

    def loss(self, targets: Tensor) -> float:
        """Mean cross-entropy in nats per token against targets (B, T)."""
        return float(cross_entropy(self.logits, targets))


def trace(model: LanguageModel, ids: Tensor | Sequence[int]) -> Trace:
    """Trace a GPT, or a mixture's, over ids (T,) or (B, T).

    ConfigError for a model without layers and for more than block_size tokens. DisagreementError when the logits are
    not the model's own within `TOLERANCE`.

    >>> from clearhead.config import GPTConfig
    >>> seen = trace(GPTLanguageModel(GPTConfig(vocab_size=5, n_embd=8, n_head=2, n_layer=1)), [0, 1, 4])
    >>> seen.blocks[0].wei.shape, seen.logits.shape, seen.error < 1e-5
    (torch.Size([1, 2, 3, 3]), torch.Size([1, 3, 5]), True)
    """
    gpt, _ = gpt_of(model, "layers")
    if gpt.config.without in ("residual", "feed_forward"):
        raise ConfigError(
            f"this model was trained without={gpt.config.without}, and what is shown here takes the stream apart into "
            "what each layer adds; look at a model with all parts"
        )
    idx = torch.as_tensor(ids, device=gpt.device).long()
    idx = idx[None] if idx.ndim == 1 else idx
    with evaluating(gpt):
        own = gpt(idx).logits  # first, for it says what does not fit
        x = gpt.embed(idx)
        token, position = _embeddings(gpt, idx)
        blocks = []
        for layer, block in enumerate(gpt.blocks):
            blocks.append(BlockTrace(layer, block, x))  # pyright: ignore[reportArgumentType]
            x = blocks[-1].after
        found = gpt.lm_head(gpt.ln_f(x))
    return Trace(gpt, idx, agreement(found, own, "logits of the readable path"), token, position, tuple(blocks))


def _embeddings(gpt: GPTLanguageModel, idx: Tensor) -> tuple[Tensor, Tensor | None]:
    token = gpt.token_embedding_table(idx) * (gpt.config.n_embd**0.5 if gpt.config.scale_embedding else 1.0)
    learned = gpt.config.positions == "learned"
    return token, gpt.position_embedding_table.weight[: idx.shape[1]].detach() if learned else None


def _quietly(function: Callable[..., Any], *inputs: Any) -> Any:
    """A function's value without a graph for gradients."""
    with torch.no_grad():
        return function(*inputs)
