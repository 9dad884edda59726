"""Learning rates as pure functions of the step."""

import math

from clearhead.config import TrainConfig


def schedule(step: int, config: TrainConfig) -> float:
    """The share, in 0 .. 1, of every peak rate at update number `step` (0 is the first): one shape for all rates.

    A linear warm-up, the peak, then over the last `decay_iters` updates a fall to `min_lr / learning_rate` (1 where
    `min_lr` is not below the peak): half a cosine (Loshchilov & Hutter 2017, "SGDR", section 3, without restarts) or
    a straight line, as `decay` says. A warm-up longer than the run is cut to a tenth of it. A run that stays at its
    peak for a while can be given more or fewer steps until the fall begins, and nothing before changes (Haegele
    et al. 2024, "Scaling laws and compute-optimal training beyond fixed training durations", section 3).

    >>> config = TrainConfig(learning_rate=1.0, min_lr=0.1, warmup_iters=4, max_iters=105)
    >>> [round(schedule(step, config), 3) for step in (0, 3, 29, 54, 104)]
    [0.25, 1.0, 0.868, 0.55, 0.1]
    >>> late = TrainConfig(learning_rate=1.0, min_lr=0.0, warmup_iters=4, max_iters=101, decay="linear", decay_iters=51)
    >>> [round(schedule(step, late), 3) for step in (0, 3, 50, 75, 100)]
    [0.25, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = config.warmup_iters if config.warmup_iters < config.max_iters else config.max_iters // 10
    if step < warmup:
        return (step + 1) / warmup
    peak = warmup if config.decay_iters is None else max(warmup, config.max_iters - config.decay_iters)
    progress = min(1.0, max(0.0, (step - peak) / max(1, config.max_iters - 1 - peak)))
    fallen = progress if config.decay == "linear" else 0.5 * (1 - math.cos(math.pi * progress))
    lowest = config.min_lr / config.learning_rate if config.min_lr < config.learning_rate else 1.0
    return 1 - fallen * (1 - lowest)


def fall_begins(config: TrainConfig) -> int | None:
    """The step from which the rate falls; None where it falls from the warm-up on."""
    return None if config.decay_iters is None else config.max_iters - config.decay_iters


def learning_rate(step: int, config: TrainConfig) -> float:
    """AdamW's rate of update number `step`.

    >>> config = TrainConfig(learning_rate=2.0, min_lr=0.2, warmup_iters=4, max_iters=105, decay="linear")
    >>> [round(learning_rate(step, config), 3) for step in (0, 3, 29, 54, 104)]
    [0.5, 2.0, 1.55, 1.1, 0.2]
    """
    return schedule(step, config) * config.learning_rate
