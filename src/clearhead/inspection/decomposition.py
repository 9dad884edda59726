"""Which part says what: a logit as a sum over the token's embedding, its position, every head, every feed-forward.

The residual stream is a sum, and the head is linear; only the final norm stands between. Its scale is frozen at the
value it has at this position, and then each part has a share of its own (the direct logit attribution of Elhage et al.
2021, "A Mathematical Framework for Transformer Circuits"). LayerNorm's subtraction of the mean is linear and done to
each part; its bias is a part. So the parts add up to the model's own logit, and the difference that remains is printed.

Shapes: P parts, T positions, C = n_embd, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.trace import Trace, agreement
from clearhead.inspection.view import HIDDEN

Floats = npt.NDArray[np.float64]

FROZEN = {
    "layernorm": "the final LayerNorm: the mean taken off all parts, its scale {scale:.4f} of this position kept",
    "rmsnorm": "the final RMSNorm: its scale {scale:.4f} of this position kept",
    "none": "there is no final norm",
}


@dataclass(frozen=True)
class Part:
    """One term of the sum."""

    name: str
    logit: float
    """Its share of the logit, or of the difference of two."""
    centred: float
    """The same less the mean over the vocabulary: softmax ignores what raises all logits alike."""


@dataclass(frozen=True)
class Decomposition:
    """One logit, or the difference of two, taken apart."""

    position: int
    token: str
    against: str | None
    """The token whose logit is taken off; None for the logit itself."""
    parts: tuple[Part, ...]
    """In the order of the model."""
    total: float
    """The sum of the parts."""
    logit: float
    """The model's own."""
    error: float
    """The largest difference between the sum of the parts and the model's logit, over the whole vocabulary."""
    norm: str
    """How the final norm was treated."""
    logits: Floats = field(metadata=HIDDEN)
    """(P, V) every part's share of every logit."""

    @property
    def what(self) -> str:
        """The quantity in words."""
        return f"logit of {self.token}" + (f" less logit of {self.against}" if self.against else "")

    def __str__(self) -> str:
        ends = Part("sum", self.total, sum(part.centred for part in self.parts))
        rows = [(part.name, f"{part.logit:+.4f}", f"{part.centred:+.4f}", "") for part in (*self.parts, ends)]
        rows = [("part", "share", "less mean", ""), *rows]
        if self.against:  # a difference has no mean over the vocabulary to lose
            rows = [(name, share, "") for name, share, *_ in rows]
        return "\n".join(
            [
                f"the {self.what} after position {self.position}, part by part ({self.norm})",
                *aligned(rows),
                f"check: parts sum to {self.total:+.6f}, the model says {self.logit:+.6f}; the largest error over the "
                f"whole vocabulary is {self.error:.1e}",
            ]
        )


def decompose(
    seen: Trace, names: tuple[str, ...], position: int, token: int, against: int | None = None, row: int = 0
) -> Decomposition:
    """The parts of a logit at a position of a trace's row; `names` (V,) are the tokens as people read them.

    `DisagreementError` where they do not add up to the model's own logits.
    """
    labels, vectors = zip(*_parts(seen, row, position), strict=True)
    x = seen.final[row, position].cpu().double()
    shares, scale = _normalised(seen, torch.stack(vectors).cpu().double(), x)
    labels, logits = _through_head(seen, list(labels), shares)
    with evaluating(seen.model):
        own = seen.model(seen.idx).logits[row, position].cpu().double()
    error = agreement(logits.sum(0), own, "the parts of the logits", float(logits.abs().max()))
    chosen = logits[:, token] - (logits[:, against] if against is not None else 0.0)
    mean = logits.mean(1) if against is None else torch.zeros(len(logits), dtype=torch.double)
    value = own[token] - (own[against] if against is not None else 0.0)
    parts = zip(labels, chosen.tolist(), (chosen - mean).tolist(), strict=True)
    return Decomposition(
        position=position,
        token=names[token],
        against=None if against is None else names[against],
        parts=tuple(Part(*part) for part in parts),
        total=float(chosen.sum()),
        logit=float(value),
        error=error,
        norm=FROZEN[seen.model.config.norm].format(scale=scale),
        logits=logits.numpy(),
    )


def _parts(seen: Trace, row: int, position: int) -> Iterator[tuple[str, Tensor]]:
    """The terms of the final residual stream (C,) each."""
    yield "token embedding", seen.token_embedding[row, position]
    if seen.position_embedding is not None:
        yield "position embedding", seen.position_embedding[position]
    for block in seen.blocks:
        for head, vector in enumerate(block.contributions[row, :, position]):
            yield f"head {block.layer}.{head}", vector
        if block.proj_bias is not None:
            yield f"attention bias {block.layer}", block.proj_bias
        yield f"feed-forward {block.layer}", block.feed_forward[row, position]


def _normalised(seen: Trace, vectors: Tensor, x: Tensor) -> tuple[Tensor, float]:
    """Parts (P, C) of the stream x (C,) as the head reads them, and the scale that was kept; a bias is not in."""
    norm, eps = seen.model.ln_f, seen.model.config.norm_eps
    if isinstance(norm, nn.Identity):
        return vectors, 1.0
    if isinstance(norm, nn.LayerNorm):
        vectors, x = vectors - vectors.mean(-1, keepdim=True), x - x.mean()
    scale = (x.square().mean() + eps).rsqrt()
    weight = norm.get_parameter("weight").detach().cpu().double()
    return vectors * scale * weight, float(scale)


def _through_head(seen: Trace, labels: list[str], shares: Tensor) -> tuple[list[str], Tensor]:
    """Names and logits (P, V) of the parts (P, C), with those of the biases behind the stream."""
    head, norm = seen.model.lm_head, seen.model.ln_f
    weight = head.weight.detach().cpu().double()
    logits = [shares @ weight.T]
    if isinstance(norm, nn.LayerNorm) and norm.bias is not None:
        labels.append("final norm's bias")
        logits.append((weight @ norm.bias.detach().cpu().double())[None])
    if head.bias is not None:
        labels.append("head's bias")
        logits.append(head.bias.detach().cpu().double()[None])
    return labels, torch.cat(logits)
