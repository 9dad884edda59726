"""Where a run stands, read from its events as they come: cheap enough to ask of every run in a folder, all the time."""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from clearhead.studio.curves import read_event
from clearhead.studio.tail import Tail

PACE = 12.0
"""Seconds of training over which the pace is measured."""
PLAIN = b'{"event": "stepped"'
"""How most lines begin: of many in a row only the last is read."""


@dataclass
class Standing:
    """What the events of one run come to."""

    path: Path
    started: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0
    val: float | None = None
    best_val: float | None = None
    """Of the evaluation that dev liked best."""
    end: dict[str, Any] | None = None
    """The last event, where it says that training is over."""
    told: bool = False
    """There is any event."""

    def __post_init__(self) -> None:
        self.tail = Tail(self.path)
        self._made: deque[tuple[float, int]] = deque()  # seconds of training, steps made by then

    def update(self) -> bool:
        """Read what is new; whether there was anything."""
        news = False
        while True:
            lines, anew = self.tail.read()
            if anew:
                self._forget()
            for line, following in pairwise([*lines, b""]):
                if not (line.startswith(PLAIN) and following.startswith(PLAIN)):
                    self._take(read_event(line))
            news = news or anew or bool(lines)
            if not lines:
                return news

    def _forget(self) -> None:
        self.step, self.seconds, self.val, self.best_val, self.end = 0, 0.0, None, None, None
        self._made.clear()

    @property
    def written(self) -> float:
        """When the last event was written, in seconds since 1970; 0 where there is none."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0.0

    def _take(self, event: dict[str, Any]) -> None:
        if not event:
            return
        kind, self.told = event.get("event"), True
        self.step = max(self.step, event["step"])
        self.seconds = float(event.get("seconds") or self.seconds)
        self.end = event if kind in ("finished", "failed") else None
        if kind == "started":
            self.started = event
        elif kind == "evaluated":
            self.val = event.get("val")
            self.best_val = self.val if event.get("best") else self.best_val
        elif kind == "stepped":
            self._note(self.seconds, event["step"])

    def _note(self, seconds: float, step: int) -> None:
        self._made.append((seconds, step))
        while len(self._made) > 2 and seconds - self._made[1][0] > PACE:
            self._made.popleft()

    @property
    def pace(self) -> float | None:
        """Steps per second over the last seconds, evaluations included; None before two readings."""
        if len(self._made) < 2:
            return None
        (begun, first), (ended, last) = self._made[0], self._made[-1]
        return (last - first) / (ended - begun) if ended > begun and last > first else None
