"""What is called in a child before its command: it is killed, hears a signal or is slow at a moment that is known."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

SAMPLED = 16
"""Tokens of a sample: more would take most of the time."""
REPLAN_AT, REST = 3, 5
"""Of a planned run: the step at which it is planned anew, and how many follow."""


def fuse(at: int | None = None, told: str | None = None, tally: str | None = None) -> None:
    """SIGKILL before or inside the `at`-th call that changes something on the disk: what it writes is there by half.

    Or after the first event of the kind `told`. `tally` is a file that learns how many calls there were.
    """
    from clearhead.runs import checkpoint
    from clearhead.training.sinks import EventFile

    short_samples()
    if told:
        signalled(signal.SIGKILL, told)
    blown = _Fuse(at, tally)
    for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "chmod"):
        blown.wrap(os, name)
    blown.wrap(checkpoint, "save_file", lambda tensors, path: path.write_bytes(b"\x10" * 900))
    blown.wrap(Path, "write_text", lambda path, text, **_: path.write_bytes(text.encode()[: len(text) // 2]))
    blown.wrap(EventFile, "handle", _half_a_line)


class _Fuse:
    def __init__(self, at: int | None, tally: str | None) -> None:
        self.at, self.tally, self.count, self.lock = at, tally, 0, threading.Lock()

    def wrap(self, owner: Any, name: str, by_half: Callable[..., object] = lambda *_, **__: None) -> None:
        real = getattr(owner, name)

        def fused(*arguments: Any, **named: Any) -> Any:
            if self._is_this_one():
                by_half(*arguments, **named)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(owner, name, fused)

    def _is_this_one(self) -> bool:
        with self.lock:
            self.count += 1
            if self.tally:
                with open(self.tally, "w") as file:
                    file.write(str(self.count))
            return self.count == self.at


def _half_a_line(events: Any, event: Any) -> None:
    line = json.dumps(event.to_dict())
    events.file.write(line[: len(line) // 2])
    events.file.flush()


def short_samples() -> None:
    """Let samples be short."""
    from clearhead.training import judging

    judging.SAMPLE_TOKENS = SAMPLED


def plan_anew(replan_at: int = REPLAN_AT, **given: Any) -> None:
    """A fuse, and a planner whose first plan is the flags', and whose second has more steps.

    A planner goes by the clock, so that two of its runs are never the same; this one does not.
    """
    from clearhead.training.budget import Budget
    from clearhead.training.planner import Plan, Planner

    def revised(budget: Budget, train: Any, step: int, step_seconds: float) -> Any:
        return replace(train, max_iters=step + REST, decay_iters=REST, dev_iters=2)

    def plan(planner: Planner) -> Plan:
        train = replace(planner.config.train, decay_iters=planner.config.train.max_iters - REPLAN_AT, dev_iters=1)
        return Plan(replace(planner.config, train=train), replace(planner.budget, replan_at=replan_at), "planned")

    Planner.plan, Budget.revised = plan, revised  # pyright: ignore[reportAttributeAccessIssue]
    fuse(**given)


def plan_once(**given: Any) -> None:
    """A fuse, and a planner that keeps to its first plan."""
    plan_anew(replan_at=-1, **given)


def two_threads(**given: Any) -> None:
    """A fuse, and sums in two threads."""
    import torch

    torch.set_num_threads(2)
    fuse(**given)


def signalled(number: int, kind: str | None = None, count: int = 1) -> None:
    """A signal to itself when the `count`-th event, of a `kind` or of any, has been told."""
    from clearhead.training.sinks import EventFile

    short_samples()
    real, left = EventFile.handle, [count]

    def handle(events: EventFile, event: Any) -> None:
        real(events, event)
        left[0] -= kind in (None, type(event).__name__.lower())
        if left[0] == 0:
            left[0] = -1
            os.kill(os.getpid(), number)

    EventFile.handle = handle  # pyright: ignore[reportAttributeAccessIssue]


def signalled_in(number: int, where: str) -> None:
    """A signal to itself when a function, "module:name" or "module:Class.name", is called."""
    from importlib import import_module

    short_samples()
    module, _, path = where.partition(":")
    *outer, name = path.split(".")
    owner: Any = import_module(module)
    for part in outer:
        owner = getattr(owner, part)
    real = getattr(owner, name)

    def heard(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        return real(*arguments, **named)

    setattr(owner, name, heard)


def slow_saves(seconds: float, after: int = 0) -> None:
    """A disk that takes long over every save, but for the first few files."""
    from clearhead.runs import checkpoint

    short_samples()
    real, left = checkpoint.save_file, [after]

    def save_file(*arguments: Any) -> None:
        left[0] -= 1
        time.sleep(seconds if left[0] < 0 else 0)
        real(*arguments)

    checkpoint.save_file = save_file


def slow_step(seconds: float, step: int) -> None:
    """A step that takes long."""
    from clearhead.training.trainer import Trainer

    short_samples()
    real = Trainer.gradients

    def gradients(trainer: Trainer) -> Any:
        time.sleep(seconds if trainer.progress.step == step else 0)
        return real(trainer)

    Trainer.gradients = gradients  # pyright: ignore[reportAttributeAccessIssue]


def hung_up(**moment: Any) -> None:
    """The terminal goes away under a command that `nohup` began."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signalled(signal.SIGHUP, **moment)


def held(at: int, until: str) -> None:
    """Stand still when step `at` has been told, until a file is there; `until` with the suffix .held tells when."""
    from clearhead.training.sinks import EventFile

    short_samples()
    real, go = EventFile.handle, Path(until)

    def handle(events: EventFile, event: Any) -> None:
        real(events, event)
        if type(event).__name__ == "Stepped" and event.step == at:
            go.with_suffix(".held").touch()
            while not go.exists():
                time.sleep(0.005)

    EventFile.handle = handle  # pyright: ignore[reportAttributeAccessIssue]
