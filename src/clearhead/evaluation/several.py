"""Several settings, several seeds each: which one is best on the validation text, and which could as well be chance?

The more settings are compared, the surer one of them looks better by chance. So the interval of every pair is widened
until all together hold with 95 % (Bonferroni: each is left 5 % divided by the number of pairs). All pairs count, not
only those with the best: which one that is has been read from the same numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearhead.evaluation.alignment import Float64, Scored, same_tokens
from clearhead.evaluation.bootstrap import LEVEL, SEED, Interval, difference
from clearhead.evaluation.compare import common_blocks


@dataclass(frozen=True)
class Difference:
    """The best setting against another one: below 0 by what the best is lower."""

    other: int
    """Its number."""
    bits_per_char: Interval
    nats_per_token: Interval | None
    """None when the settings have different tokenizers."""

    @property
    def shown(self) -> bool:
        """Whether it is more than chance explains."""
        return not self.bits_per_char.low <= 0 <= self.bits_per_char.high


@dataclass(frozen=True)
class Several:
    """The best of some settings against each other one."""

    best: int
    """The number of the setting with the lowest mean."""
    differences: tuple[Difference, ...]
    """In the order of the settings."""
    level: float
    """Of each interval; together they are as sure as `bootstrap.LEVEL`."""
    blocks: int
    """Of validation text, drawn with replacement."""


def compare_several(settings: Sequence[Sequence[Scored]], seed: int = SEED) -> Several:
    """The runs of two settings or more, each with its seeds; `seed` is the resampling's.

    ConfigError when the text has too few pieces that all tokenizers can tell apart.
    """
    everyone = [run for setting in settings for run in setting]
    bits, characters = common_blocks(everyone)
    ends = np.cumsum([len(setting) for setting in settings])
    rows = [bits[end - len(setting) : end] for end, setting in zip(ends, settings, strict=True)]
    best, found, level = best_against_each(rows, characters, seed)
    to_nats = None
    if same_tokens(everyone):
        to_nats = math.log(2) * everyone[0].data.meta.characters["val"] / len(everyone[0].losses)
    differences = [
        Difference(other, interval, None if to_nats is None else interval.times(to_nats))
        for other, interval in found.items()
    ]
    return Several(best, tuple(differences), level, len(characters))


def best_against_each(
    settings: Sequence[Float64], characters: Float64, seed: int = SEED
) -> tuple[int, dict[int, Interval], float]:
    """The setting with the lowest mean, its difference from each other one, and the level of these intervals.

    Bits (R, n) of the R runs of each setting in n blocks of (n,) characters. Seeds are taken to be drawn anew for every
    setting. Where they are the same, and settings suffer from a bad one alike, the intervals are wider than need be.
    """
    best = int(np.argmin([bits.sum(1).mean() for bits in settings]))
    level = 1 - (1 - LEVEL) / math.comb(len(settings), 2)
    others = {
        other: difference(settings[best], bits, characters, seed, level)
        for other, bits in enumerate(settings)
        if other != best
    }
    return best, others, level
