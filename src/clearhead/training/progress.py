"""What a trainer knows beyond weights and moments, and when that is written down."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from clearhead.config import TrainConfig
from clearhead.errors import CheckpointError
from clearhead.fields import LARGEST
from clearhead.models.base import LanguageModel
from clearhead.optim.sharded import local
from clearhead.runs.checkpoint import optimizer_tensors
from clearhead.runs.writer import CheckpointWriter
from clearhead.training.events import Saved
from clearhead.training.parallel import Ranks


@dataclass
class Progress:
    """The numbers that a checkpoint keeps of a trainer."""

    step: int = 0
    evaluated_at: int = -1
    best_dev: float = math.inf
    best_step: int | None = None
    """The checkpoint that dev liked best."""
    evaluations_without_gain: int = 0
    seconds: float = 0.0
    """Training time of earlier processes."""
    micro_batches: int = 1
    """Parts that a batch is computed in: `accumulation`, or more after memory ran out."""
    threads: int = 1
    """Of the CPU: sums are taken in their order."""
    ranks: int = 1
    """Processes that computed: the same of them."""
    compiled: bool | None = None
    """Whether the forward pass is compiled; None before that is decided."""
    untold: int | None = None
    """The save that no event has told yet."""

    @classmethod
    def of(cls, state: dict[str, Any], step: int) -> "Progress":
        """The numbers of the checkpoint of a step; CheckpointError when they are not these."""
        try:
            progress = cls(**state)
        except TypeError as error:
            raise CheckpointError(f"the checkpoint's state does not fit this version ({error}); train again") from None
        for name, (kinds, low, high) in _POSSIBLE.items():
            value = getattr(progress, name)
            if type(value) not in kinds or (value is not None and not low <= value <= high):
                raise CheckpointError(f"the checkpoint's state has {name}={value!r}, which cannot be; train again")
        if progress.step != step:
            raise CheckpointError(f"checkpoint {step} has the state of step {progress.step}; train again")
        return progress

    def halve_parts(self, rows: int) -> str:
        """Compute batches of so many rows in parts of half the size from now on; a line about it."""
        before, self.micro_batches = self.micro_batches, min(rows, 2 * self.micro_batches)
        return (
            f"out of memory with {math.ceil(rows / before)} rows at a time: from now on "
            f"{math.ceil(rows / self.micro_batches)} at a time, with the same tokens per step"
        )


@dataclass(frozen=True)
class Made:
    """An update that was made, and how to have its loss (nats per token) and gradient norm."""

    step: int
    learning_rate: float
    figures: Callable[[], list[float]]


_WHOLE, _NUMBER, _MAYBE = (int,), (int, float), (int, type(None))
_POSSIBLE: dict[str, tuple[tuple[type, ...], float, float]] = {
    "step": (_WHOLE, 0, LARGEST),
    "evaluated_at": (_WHOLE, -1, LARGEST),
    "best_dev": (_NUMBER, 0, math.inf),
    "best_step": (_MAYBE, 0, LARGEST),
    "evaluations_without_gain": (_WHOLE, 0, LARGEST),
    "seconds": (_NUMBER, 0, LARGEST),
    "micro_batches": (_WHOLE, 1, 1 << 20),
    "threads": (_WHOLE, 1, 1 << 10),
    "ranks": (_WHOLE, 1, 1 << 20),
    "compiled": ((bool, type(None)), 0, 1),
    "untold": (_MAYBE, 0, LARGEST),
}
"""Of each number of `Progress` its types, and its bounds: a checkpoint may be a stranger's."""


class Saver:
    """Saves a run as it trains, and says so.

    A save is told when it surely lies on the disk, at a moment that does not depend on how long that took: when the
    next is due, and at the end. One that is not scheduled (an interruption's, the clock's) is not told. So the
    events of a resumed run are those of a run that was never interrupted.
    """

    def __init__(self, writer: CheckpointWriter, model: LanguageModel, optimizer: torch.optim.Optimizer) -> None:
        self.writer, self.model, self.optimizer = writer, model, optimizer
        self.saved: Progress | None = None
        """What the newest checkpoint knows, begun or written."""
        self._clock = time.monotonic()

    def kept(self) -> str:
        """What of the run surely lies on the disk."""
        saved = self.writer.run.pointer("latest")
        return f"the last good step is {saved}" if saved is not None else "nothing was saved yet"

    def overdue(self, minutes: float | None) -> bool:
        """Whether that many minutes have passed since the last save."""
        return minutes is not None and time.monotonic() - self._clock >= 60 * minutes

    def finite(self) -> bool:
        """Whether every weight and moment that this process holds is a number."""
        held = (*self.model.parameters(), *optimizer_tensors(self.optimizer, self.model).values())
        return all(math.isfinite(local(t).detach().sum()) for t in held)  # a sum is where all are: one pass over memory

    def due(self, step: int, reason: str | None, train: TrainConfig, ranks: Ranks) -> bool | None:
        """Whether a save that is due is scheduled; None where none is due. `reason` is why the run ends, if it does."""
        if reason == "interrupted":
            return False
        if reason or (step and step % train.save_interval == 0):
            return True
        timed = train.save_minutes is not None  # each rank has a clock of its own
        return False if timed and ranks.any(self.overdue(train.save_minutes)) else None

    def save(self, progress: Progress, seconds: float, *, scheduled: bool) -> Iterator[Saved]:
        """Begin checkpoint `progress.step`, unless there is one that knows as much.

        One that knows less is replaced: an interruption saved it before it was evaluated.
        """
        if scheduled and progress.untold != progress.step:
            yield from self.settle(progress)
            progress.untold = progress.step
        if self.saved != progress:
            moments = optimizer_tensors(self.optimizer, self.model)
            state = {**vars(progress), "seconds": seconds}
            self.writer.begin(progress.step, self.model, state=state, optimizer=moments, best=progress.best_step)
            self.saved, self._clock = replace(progress), time.monotonic()

    def settle(self, progress: Progress) -> Iterator[Saved]:
        """Wait for what was begun, and tell what is untold."""
        self.writer.wait()
        if progress.untold is not None:
            yield Saved(progress.untold, self.writer.run.checkpoint(progress.untold).name)
            progress.untold = None
