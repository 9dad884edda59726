"""What an average of batches is worth, for the lesson on evaluation."""

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearhead.api import Run

BATCHES = 200
"""Batches whose losses are looked at one by one."""
AVERAGED = (1, 5, 20)
"""Batches that an estimate averages."""


@dataclass(frozen=True)
class Spread:
    """Estimates that average so many batches each."""

    averaged: int
    low: float
    high: float
    spread: float
    """Standard deviation."""


def spreads_of(run: "Run") -> list[Spread]:
    """Estimates of the validation loss from random batches, by how many they average."""
    from clearhead.evaluation.ladder import score_split
    from clearhead.evaluation.loss import estimate_loss
    from clearhead.training.feed import Feed

    feed, split = Feed(run.data, run.config.train, run.runtime), score_split(run.data)
    losses = [
        estimate_loss(
            run.model, lambda split, _, k=k: feed.batch(split, k, stream="estimate"), 1, [split], run.runtime
        )[split]
        for k in range(BATCHES)
    ]
    found = []
    for n in AVERAGED:
        means = [fmean(losses[i : i + n]) for i in range(0, BATCHES, n)]
        found.append(Spread(n, min(means), max(means), stdev(means)))
    return found


def whole_loss(run: "Run") -> float:
    """Nats per token of a run over the whole split that judges it."""
    from clearhead.evaluation.ladder import score_split
    from clearhead.evaluation.loss import split_loss

    return split_loss(run.model, run.data, score_split(run.data), run.runtime.exact).nats_per_token
