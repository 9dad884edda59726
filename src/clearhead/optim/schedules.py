"""Learning rates as pure functions of the step."""

import math

from clearhead.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of update number `step` (0 is the first): linear warm-up, then half a cosine down to `min_lr`.

    Loshchilov & Hutter 2017, "SGDR", section 3, without restarts. A warm-up longer than the run is cut to a
    tenth of it.

    >>> config = TrainConfig(learning_rate=1.0, min_lr=0.1, warmup_iters=4, max_iters=105)
    >>> [round(learning_rate(step, config), 3) for step in (0, 3, 54, 104)]
    [0.25, 1.0, 0.55, 0.1]
    """
    warmup = config.warmup_iters if config.warmup_iters < config.max_iters else config.max_iters // 10
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, config.max_iters - 1 - warmup))
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (config.learning_rate - config.min_lr)
