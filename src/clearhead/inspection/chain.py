"""One head, stage by stage: q.k, the scale, the mask, the softmax, times v, each with its real values.

Shapes: T positions, hs = head size.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.evaluation.table import aligned
from clearhead.inspection.heads import entropy, unscaled
from clearhead.inspection.trace import BlockTrace

Floats = npt.NDArray[np.float32]

SHOWN = 12
"""Tokens of a chain that are printed, at most: those that weigh most."""
FIRST = 4
"""Numbers of a vector that are printed."""


@dataclass(frozen=True)
class Chain:
    """One head from q and k to what it says; what lies in the future is NaN where it has no value."""

    layer: int
    head: int
    position: int
    """The position that is printed."""
    scale: float
    """1 / sqrt(hs); 1 in a model without it."""
    causal: bool
    """Whether the future is masked."""
    q: Floats
    """(T, hs), normalised and rotated where the model does that."""
    k: Floats
    """(T, hs)"""
    v: Floats
    """(T, hs)"""
    products: Floats
    """(T, T): q @ k^T"""
    scores: Floats
    """(T, T): times the scale, the future masked."""
    wei: Floats
    """(T, T): softmax of the scores, rows sum to 1."""
    wei_unscaled: Floats
    """(T, T): the softmax of the masked products without the scale."""
    out: Floats
    """(T, hs): wei @ v"""

    def table(self, tokens: tuple[str, ...]) -> str:
        """One row of the pattern, key by key, and what comes out."""
        t = self.position
        sees = t + 1 if self.causal else len(tokens)
        order = np.argsort(-self.wei[t, :sees], kind="stable")
        listed = sorted(order[:SHOWN].tolist())
        stages = (self.products, self.scores, self.wei, self.wei_unscaled)
        rows = [("position", "token", "q.k", "scaled", "softmax", "unscaled", "")]
        for at in listed:
            raw, scaled, wei, loose = (float(stage[t, at]) for stage in stages)
            rows.append((f"{at}", tokens[at], f"{raw:+.3f}", f"{scaled:+.3f}", f"{wei:.4f}", f"{loose:.4f}", ""))
        left = sees - len(listed)
        rest = f", {left} more with {max(0.0, 1 - float(self.wei[t, listed].sum())):.4f} in all" if left else ""
        first = ", ".join(f"{value:+.3f}" for value in self.out[t, :FIRST])
        bits = [float(entropy(torch.from_numpy(wei[t]))) for wei in (self.wei, self.wei_unscaled)]
        return "\n".join(
            [
                f"layer {self.layer}, head {self.head}: what position {t} ({tokens[t]}) looks at{rest}",
                *aligned(rows),
                f"{self._scaling}; {self._masking(len(tokens) - 1 - t)}",
                f"entropy {bits[0]:.2f} bits"
                + f"; without the scale {bits[1]:.2f}: larger products make a sharper softmax" * (self.scale != 1),
                f"out = softmax @ v: {first}, ... ({self.out.shape[1]} numbers)",
            ]
        )

    @property
    def _scaling(self) -> str:
        if self.scale == 1 and self.q.shape[1] > 1:
            return f"scaled: this model was trained without the scale 1/sqrt({self.q.shape[1]}), q.k goes in as it is"
        return f"scaled: q.k times 1/sqrt({self.q.shape[1]}) = {self.scale:.4f}"

    def _masking(self, after: int) -> str:
        t = self.position
        if not self.causal:
            return f"no mask: the {after} positions after {t} are seen too, and nothing is predicted"
        return f"the {after} positions after {t} are masked: -inf, so their softmax is 0"


def work_out(block: BlockTrace, head: int, position: int) -> Chain:
    """The chain of one head on the first row of a trace; `position` is what will be printed."""

    def numbers(values: Tensor) -> Floats:
        found = values[0, head].cpu().numpy().astype(np.float32)
        return np.where(np.isfinite(found), found, np.nan)

    return Chain(
        layer=block.layer,
        head=head,
        position=position,
        scale=block.block.sa.scale,
        causal=block.block.sa.causal,
        q=numbers(block.q),
        k=numbers(block.k),
        v=numbers(block.v),
        products=numbers(block.products),
        scores=numbers(block.scores),
        wei=numbers(block.wei),
        wei_unscaled=numbers(unscaled(block)),
        out=numbers(block.out),
    )
