"""A time budget: how long a command may take, and how many steps fit into what is left of it."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from clearhead.config import RunConfig, TrainConfig
from clearhead.errors import ConfigError
from clearhead.training.events import Replanned

DEFAULT_TIME = "3m"
SETTLED = frozenset(
    {"max_iters", "batch_size", "block_size", "n_embd", "n_head", "n_layer", "ffn_width"}
    | {"preset", "optimizer", "config", "init_from"}
)
"""Who gives one of these, and no time, has a run of their own in mind: nothing is planned."""
SHORTEST = 5.0
"""Seconds: below this nothing is left for training once the text is read and the end is counted off."""
A_TRIFLE = 0.02
"""A share of the steps that is not worth a change."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """When a command began, and when it should be over."""

    seconds: float
    begun: float
    """By `time.perf_counter`."""
    reserve: float = 0.0
    """Seconds that judging and the mixture take after the last step."""
    replan_at: int = -1
    """The step at which what is left is planned anew; -1 never."""

    def left(self) -> float:
        """Seconds for training; negative when the time is up."""
        return self.seconds - (time.perf_counter() - self.begun) - self.reserve

    def revised(self, train: TrainConfig, step: int, step_seconds: float) -> TrainConfig:
        """The configuration that ends in time when `step` steps are made and each takes `step_seconds`.

        The rate falls from here to the end, so nothing that lies behind would have been done otherwise.
        """
        steps = step + max(1, int(self.left() / step_seconds))
        if abs(steps - train.max_iters) <= A_TRIFLE * train.max_iters:
            return train
        dev_iters = round(train.dev_iters * steps / train.max_iters)
        return replace(train, max_iters=steps, decay_iters=steps - step, dev_iters=dev_iters)


def replanned(step: int, before: int, after: int, seconds: float) -> Replanned:
    """What is told of a number of steps that was changed at a step, after so many seconds."""
    pace = f"{seconds / step * 1e3:.0f} ms a step, evaluations included"
    return Replanned(step, after, f"planned anew: {after:,} steps instead of {before:,} ({pace})")


def choose_budget(asked: str | None, given: Collection[str], config: RunConfig, begun: float) -> Budget | None:
    """The budget of a run that began at `begun`: the one asked for, the default, or None where nothing is planned.

    `given` names what the user has settled. ConfigError when a time is asked for and no gradients would fill it.
    """
    if config.trained != "gpt":
        if asked is not None:
            raise ConfigError(f"time={asked} plans a GPT, and --model {config.model} is none; leave one of them out")
        return None
    if asked is None and SETTLED.intersection(given):
        return None
    return Budget(parse_time(asked or DEFAULT_TIME), begun)


def parse_time(text: str) -> float:
    """Seconds of a duration as a person writes it; ConfigError when it is none, or too short.

    >>> parse_time("90"), parse_time("60s"), parse_time("1h30m"), parse_time("2.5m")
    (90.0, 60.0, 5400.0, 150.0)
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text + "s" * text.strip()[-1:].isdigit())
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or "".join(number + unit for number, unit in parts).rstrip("s") != text.strip().rstrip("s"):
        raise ConfigError(f"time='{text}' is no duration; write 90s, 3m or 1h30m")
    if seconds < SHORTEST:
        raise ConfigError(f"time='{text}' leaves no time to train; give at least {SHORTEST:g} seconds")
    return seconds
