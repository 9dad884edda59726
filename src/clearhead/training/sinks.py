"""Readers of a run's events: the event file, TensorBoard and the console."""

import json
import math
import os
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from clearhead.files import storing
from clearhead.training.events import Evaluated, Event, Finished, Started, Stepped

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

MOST_STEP_LINES = 2_000
"""Step events written to a file, at most: longer runs write every second, third, ... step."""


class Sink(Protocol):
    """Somebody who reads events."""

    def handle(self, event: Event) -> None:
        """Take one event."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class EventFile:
    """Appends events to events.jsonl, one JSON object a line. NaN and infinity are written as null."""

    def __init__(self, path: Path) -> None:
        with storing(path):
            self.file = path.open("a+", encoding="utf-8")
            self.file.seek(0)
            first = next((line for line in self.file if '"started"' in line), None)
        self.path, self.begun = path, first is not None
        # A run that goes on writes the same steps as before, even if its length was planned anew.
        self.every = _every(json.loads(first)["max_iters"]) if first else 1

    def handle(self, event: Event) -> None:
        """Write one line, flushed so that a reader sees it at once."""
        if isinstance(event, Started):
            if self.begun:
                return
            self.every = _every(event.max_iters)
        if isinstance(event, Stepped) and event.step % self.every:
            return
        values = {key: None if _not_finite(value) else value for key, value in event.to_dict().items()}
        with storing(self.path):
            self.file.write(json.dumps(values, ensure_ascii=False) + "\n")
            self.file.flush()

    def close(self) -> None:
        """Close the file, on the disk."""
        with storing(self.path), self.file:
            os.fsync(self.file.fileno())


def _every(max_iters: int) -> int:
    return -(-max_iters // MOST_STEP_LINES)


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


class TensorBoard:
    """Writes losses, learning rate and gradient norm for TensorBoard (the extra `tensorboard`)."""

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path, self.step = path, step

    @cached_property
    def writer(self) -> "SummaryWriter":
        """Opened by the first event."""
        from torch.utils.tensorboard.writer import SummaryWriter

        return SummaryWriter(str(self.path), purge_step=self.step or None)  # what came later comes again

    @staticmethod
    def available() -> bool:
        """Whether the extra is installed."""
        return find_spec("tensorboard") is not None

    def handle(self, event: Event) -> None:
        """Write the scalars of one event; the last one closes."""
        with storing(self.path):
            match event:
                case Stepped():
                    self.writer.add_scalar("loss/batch", event.loss, event.step)
                    self.writer.add_scalar("learning_rate", event.learning_rate, event.step)
                    self.writer.add_scalar("grad_norm", event.grad_norm, event.step)
                case Evaluated():
                    for name in ("train", "val", "dev"):
                        if (value := getattr(event, name)) is not None:
                            self.writer.add_scalar(f"loss/{name}", value, event.step)
                case Finished():
                    self.writer.close()
                case _:
                    pass

    def close(self) -> None:
        """Flush and close; twice is harmless."""
        if "writer" in vars(self):
            with storing(self.path):
                self.writer.close()


def console(stream: TextIO) -> Sink:
    """The console for a stream: a bar on a terminal, plain lines elsewhere."""
    from clearhead.training.console import BarConsole, PlainConsole

    return BarConsole(stream) if stream.isatty() else PlainConsole(stream)
