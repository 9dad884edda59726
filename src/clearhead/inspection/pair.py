"""What one entry of a table means: a logit, its row, a probability, a count.

Shapes: V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clearhead.evaluation.certificate import Pairs
from clearhead.evaluation.loss import evaluating
from clearhead.evaluation.table import aligned
from clearhead.inspection.average import NextTable
from clearhead.inspection.trace import agreement
from clearhead.models.base import LanguageModel

SHOWN = 8
"""Successors of a row that are printed."""
SHIFT = 5.0
"""What is added to a row to show that nothing changes."""


@dataclass(frozen=True)
class Successor:
    """One entry of the row, beside the counts."""

    token: str
    count: int
    """In the training text."""
    share: float | None
    """As the sampler draws it; None in a row that is never current."""
    logit: float | None
    """None where the table holds no logits but averages or counts."""
    probability: float


@dataclass(frozen=True)
class Pair:
    """Entry [current, following] of a table."""

    current: str
    following: str
    own: bool
    """Whether the table is the model, and holds logits."""
    about: str
    count: int
    """Times that following comes after current in the training text, dev included."""
    of: int
    """Times that anything comes after current."""
    share: float | None
    """p(following | current) as the sampler draws it; None where current is never current."""
    logit: float
    """Log-probability where the table holds no logits."""
    logsumexp: float
    """Of the row."""
    probability: float
    """exp(logit - logsumexp)"""
    check: float
    """Largest difference of the row's softmax from what the model itself says, or where that is an average from 1."""
    shifted: float
    """Largest difference of the row's softmax after adding `SHIFT` to the whole row."""
    row: tuple[Successor, ...]
    """(V,) the likeliest first."""

    def __str__(self) -> str:
        return "\n".join([*self._sentences(), "", *self._table()])

    def _sentences(self) -> list[str]:
        counted = f" ({self.count / self.of:.2%})" if self.of else ""
        lines = [
            f"after {self.current} comes {self.following} in {self.count:,} of {self.of:,} cases of the training text"
            f"{counted}; the table says {self.probability:.2%}",
            f"the table: {self.about}",
        ]
        if self.share is not None:
            lines.append(
                f"of the targets that training draws after {self.current}, {self.share:.2%} are {self.following}"
            )
        if not self.own:
            return [*lines, f"check: the row sums to 1 within {self.check:.1e}"]
        return [
            *lines,
            f"logit {self.logit:.4f}, logsumexp of the row {self.logsumexp:.4f}: "
            f"exp({self.logit:.4f} - {self.logsumexp:.4f}) = {self.probability:.4f}",
            "a logit alone means nothing: a row is free up to a constant; "
            f"{SHIFT:g} more on the whole row moves no probability (by {self.shifted:.1e} at most)",
            f"check: softmax of the row and the model's own answer differ by {self.check:.1e} at most",
        ]

    def _table(self) -> list[str]:
        rows = [(f"{self.current} then", "count", "share", "probability", "difference", "logit", "")]
        shown = [*self.row[:SHOWN], *(s for s in self.row[SHOWN:] if s.token == self.following)]
        for s in shown:
            share = ("", "") if s.share is None else (f"{s.share:.4f}", f"{s.probability - s.share:+.4f}")
            logit = "" if s.logit is None else f"{s.logit:.3f}"
            here = "<" if s.token == self.following else ""
            rows.append((s.token, f"{s.count:,}", share[0], f"{s.probability:.4f}", share[1], logit, here))
        return [
            *aligned(rows),
            f"{len(shown)} of {len(self.row):,} successors, the likeliest; share: as training draws it",
        ]


def pair_of(
    model: LanguageModel, table: NextTable, sampled: Pairs, counted: Pairs, at: tuple[int, int], names: tuple[str, ...]
) -> Pair:
    """Entry `at` of a model's table, beside the pairs as they are sampled and as they stand in the text."""
    a, b = at
    logits = table.logits[a].double()
    probabilities = logits.softmax(-1)
    if table.own:
        with evaluating(model):
            said = model(torch.tensor([[a]], device=model.device)).logits[0, 0].double().softmax(-1).cpu()
        check = agreement(probabilities, said, f"the row of {names[a]}")
    else:
        check = agreement(logits.exp().sum(), torch.tensor(1.0), f"the row of {names[a]}")
    return Pair(
        current=names[a],
        following=names[b],
        own=table.own,
        about=table.about,
        count=counted.count(a, b),
        of=int(counted.seen[a]),
        share=_share(sampled, a)[b] if sampled.seen[a] else None,
        logit=float(logits[b]),
        logsumexp=float(logits.logsumexp(-1)),
        probability=float(probabilities[b]),
        check=check,
        shifted=float(((logits + SHIFT).softmax(-1) - probabilities).abs().max()),
        row=_row(logits if table.own else None, probabilities, sampled, counted, a, names),
    )


def _share(pairs: Pairs, a: int) -> list[float]:
    """p(. | a) as a list of V; zeros where a is never current."""
    shares = np.zeros(pairs.vocab_size)
    here = slice(*np.searchsorted(pairs.current, [a, a + 1]))
    shares[pairs.following[here]] = pairs.conditional[here]
    return shares.tolist()


def _row(
    logits: Tensor | None, probabilities: Tensor, sampled: Pairs, counted: Pairs, a: int, names: tuple[str, ...]
) -> tuple[Successor, ...]:
    """All successors of a token, the likeliest first."""
    counts = np.zeros(len(names), dtype=np.int64)
    here = slice(*np.searchsorted(counted.current, [a, a + 1]))
    counts[counted.following[here]] = counted.counts[here]
    shares = _share(sampled, a) if sampled.seen[a] else [None] * len(names)
    values = [None] * len(names) if logits is None else logits.tolist()
    p = probabilities.tolist()
    order = torch.argsort(-probabilities, stable=True).tolist()
    return tuple(Successor(names[b], int(counts[b]), shares[b], values[b], p[b]) for b in order)
