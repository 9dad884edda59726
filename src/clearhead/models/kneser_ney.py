"""Interpolated modified Kneser-Ney smoothing (Chen & Goodman 1999, section 3), one order at a time.

    p_k(w | c) = max(n(c w) - D(n(c w)), 0) / n(c .) + kept(c) p_{k-1}(w | c without its first token)

n are raw counts where k is the order of the estimate, continuation counts below; D has a value of its own for the
counts 1, 2 and 3 or more; kept(c) is the mass that discounting took, so that rows sum to one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearhead.models.counting import Level
from clearhead.models.windows import Int32, Int64

Float64 = npt.NDArray[np.float64]


def discounts(counts: Int32) -> Float64:
    """What is taken from a count of 0, 1, 2, and 3 or more: (4,), from the counts of counts n1 .. n4.

    D(i) = i - (i + 1) Y n(i+1) / n(i) with Y = n1 / (n1 + 2 n2) (Chen & Goodman 1999, equation 26). Small or odd
    texts may lack one of the counts in it, or leave it outside 0 < D(i) <= i; it is i / 2 then, as KenLM has it.

    >>> discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])).tolist()
    [0.0, 0.5, 1.25, 1.0]
    """
    n = [int(np.count_nonzero(counts == i)) for i in range(5)]
    taken = np.arange(4) / 2
    for i in range(1, 4):
        if n[1] and n[2] and n[i] and n[i + 1]:
            estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
            taken[i] = estimate if 0 < estimate <= i else i / 2
    return taken


class Spread(NamedTuple):
    """What some contexts give away: to each token seen behind them, and to the order below."""

    entries: Int64
    """(m,) ids of the n-grams of all contexts, context by context."""
    lengths: Int64
    """(contexts,) how many of them belong to each context."""
    share: Float64
    """(m,) the probability that an n-gram's discounted count gives its last token."""
    kept: Float64
    """(contexts,) the probability left to the order below."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """One order's part of the sum: the counts of a level, raw or continuation, with their discounts."""

    level: Level
    counts: Int32

    @cached_property
    def discounts(self) -> Float64:
        """(4,) by count, the last for 3 and more."""
        return discounts(self.counts)

    def followed(self, contexts: Int64) -> npt.NDArray[np.bool_]:
        """Whether contexts (-1: never seen) were ever followed by anything."""
        starts = self.level.starts
        return (contexts >= 0) & (starts[contexts + 1] > starts[contexts])

    def spread(self, contexts: Int64) -> Spread:
        """How contexts that were followed share out their probability."""
        begin = self.level.starts[contexts].astype(np.int64)
        lengths = self.level.starts[contexts + 1] - begin
        offsets = np.cumsum(lengths) - lengths
        entries = np.arange(lengths.sum()) + np.repeat(begin - offsets, lengths)
        counts = self.counts[entries]
        taken = self.discounts[np.minimum(counts, 3)]
        total = np.add.reduceat(counts, offsets, dtype=np.int64)
        # Only a level without any count, of an empty text, has nothing to share: the order below keeps it all.
        kept = np.where(total > 0, np.add.reduceat(taken, offsets), 1) / np.maximum(total, 1)
        share = (counts - taken) / np.repeat(np.maximum(total, 1), lengths)
        return Spread(entries, lengths, share, kept)

    def interpolate(self, below: Float64, contexts: Int64, ids: Int64) -> Float64:
        """Probabilities (n,) of n-grams `ids` (-1: never seen) after contexts that were followed, from those of
        the order below."""
        unique, which = np.unique(contexts, return_inverse=True)
        spread = self.spread(unique)
        ends = np.cumsum(spread.lengths)
        at = (ends - spread.lengths)[which] + ids - self.level.starts[contexts]
        share = np.where(ids >= 0, spread.share[np.where(ids >= 0, at, 0)], 0.0)
        return share + spread.kept[which] * below

    def interpolate_rows(self, rows: Float64, at: Int64, contexts: Int64) -> None:
        """Turn whole distributions rows[at] (n, V) of the order below, in place, into those after contexts (n,)
        that were followed."""
        spread = self.spread(contexts)
        rows[at] *= spread.kept[:, None]
        tokens = self.level.keys[spread.entries] % self.level.vocab_size
        rows[np.repeat(at, spread.lengths), tokens] += spread.share
