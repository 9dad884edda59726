"""The small run that is made where nothing else is said, and what follows from its settings."""

import math
from collections.abc import Mapping
from typing import Any

from clearhead.config import RunConfig

PRESET = "lecture"
"""The GPT that students know: AdamW, LayerNorm, learned positions, so that one knob is one change."""
SMALL: Mapping[str, Any] = {
    "n_embd": 32,
    "n_head": 2,
    "n_layer": 2,
    "batch_size": 32,
    "block_size": 32,
    "max_iters": 1_000,
}
"""Where nothing else is said: a run takes about five seconds on two cores, and a dozen about a minute."""
EVALUATIONS = 5
"""Points of a curve, besides the one before the first step."""
MOST_WARMUP = 100
"""Steps; and a tenth of them at most."""
RATE_FALLS_TO = 0.1
"""Of the peak: a rate that is turned takes its end with it."""
SEEDS = 3
"""Runs of every setting."""


def configure(wanted: Mapping[str, Any]) -> RunConfig:
    """A configuration: a preset, the small sizes, and over them what is wanted, by the flags' names.

    The rest follows: evaluations are spread over the steps, the warm-up fits into them, the rate falls to a tenth.
    ConfigError where the values make no configuration.
    """
    config = RunConfig.from_preset(wanted.get("preset", PRESET), wanted.get("model", RunConfig.model))
    config = config.with_settings({**SMALL, **wanted})
    follows = paced(config.train.max_iters) | {"min_lr": RATE_FALLS_TO * config.train.learning_rate}
    return config.with_settings({name: value for name, value in follows.items() if name not in wanted})


def paced(steps: int) -> dict[str, int]:
    """What follows from a number of steps."""
    every = math.ceil(steps / EVALUATIONS)
    return {"warmup_iters": min(MOST_WARMUP, steps // 10), "eval_interval": every, "save_interval": every}
