"""How sure is a difference of two losses on one text? A paired bootstrap of blocks, and the noise of seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearhead.evaluation.alignment import Float64, Pieces
from clearhead.runtime import stream_seed

BLOCK = 2_000
"""Characters of a block. Neighbouring losses depend on each other, and short blocks would call a difference surer than
it is: docs/ladder.md has the figures."""
MOST_BLOCKS = 200
"""A longer text has longer blocks: this many show to a twentieth how much they vary."""
FEW_BLOCKS = 20
"""A shorter text has shorter blocks: fewer than this many show it badly."""
LEAST_BLOCKS = 10
RESAMPLES = 10_000
LEVEL = 0.95
"""How sure an interval is."""
SEED = 1337


@dataclass(frozen=True)
class Interval:
    """A difference, and where it lies with 95 % confidence, or what else was asked for."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Its ends."""
        return f"{self.low:+.4f} .. {self.high:+.4f}"

    def times(self, factor: float) -> "Interval":
        """The same in another unit."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)


def in_blocks(pieces: Pieces) -> tuple[Float64, Float64]:
    """Neighbouring pieces together: bits (R, m) and characters (m,) of blocks of nearly the same length."""
    total = pieces.characters.sum()
    wanted = min(MOST_BLOCKS, max(FEW_BLOCKS, int(total) // BLOCK))
    starts = np.cumsum(pieces.characters) - pieces.characters
    number = np.minimum(starts * wanted // total, wanted - 1)
    first = np.flatnonzero(np.diff(number, prepend=-1))
    return np.add.reduceat(pieces.bits, first, axis=1), np.add.reduceat(pieces.characters, first)


def difference(a: Float64, b: Float64, characters: Float64, seed: int, level: float = LEVEL) -> Interval:
    """Bits per character of runs (R, n) less those of other runs (S, n) on n blocks of (n,) characters.

    The noise of the text: whole blocks are drawn with replacement, the same for all runs (paired: Koehn 2004,
    "Statistical significance tests for machine translation evaluation"; blocks because neighbours depend on each
    other: Carlstein 1986; Künsch 1989), and the percentiles are those of Efron and Tibshirani 1993, chapter 13.
    The noise of seeds: see `seed_noise`. Both are widened as Student's t is, for few blocks and few runs vary too
    little among themselves.
    """
    rng = np.random.default_rng(stream_seed(seed, "compare"))
    gain, blocks = a.mean(0) - b.mean(0), len(characters)
    value = gain.sum() / characters.sum()
    drawn = rng.integers(blocks, size=(RESAMPLES, blocks))
    text = gain[drawn].sum(1) / characters[drawn].sum(1) - value
    text *= np.sqrt(blocks / rng.chisquare(blocks - 1, RESAMPLES))
    error, freedom = seed_noise([side.sum(1) / characters.sum() for side in (a, b)])
    seeds = error * rng.standard_t(freedom, RESAMPLES) if freedom else np.zeros(RESAMPLES)
    low, high = np.quantile(value + text + seeds, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(value), float(low), float(high))


def seed_noise(sides: Sequence[Float64]) -> tuple[float, int]:
    """The standard error of the difference of means of sides (R,), as far as runs show it, and degrees of freedom.

    Runs of all sides are taken to vary alike (pooled variance). A side of one run shows nothing, and adds nothing:
    (0, 0) when all are. Drawing the runs themselves with replacement would be too sure: an interval from two runs
    would reach from one to the other, and hold the truth half of the time.
    """
    several = [side for side in sides if len(side) > 1]
    freedom = sum(len(side) - 1 for side in several)
    squares = sum(((side - side.mean()) ** 2).sum() for side in several)
    return math.sqrt(squares / max(1, freedom) * sum(1 / len(side) for side in several)), freedom
