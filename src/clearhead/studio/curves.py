"""What a run's events tell, as the page draws it: lists side by side, never more points than asked for."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

POINTS = 4_000
"""Points of a curve, at most."""
TEXTS = 400
"""Samples and notices, at most."""
COLUMNS = {"steps": "step", "loss": "loss", "lr": "learning_rate", "grad_norm": "grad_norm", "seconds": "seconds"}
"""Lists of a document -> fields of the event `stepped`."""
EVALUATION = ("step", "train", "val", "dev", "best", "seconds")
CERTIFICATE = ("step", "gap", "leak", "misfit", "floor", "difference")


@dataclass
class Curves:
    """Events, sorted into curves."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    started: dict[str, Any] = field(default_factory=dict)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    certificates: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)

    def take(self, lines: Iterable[bytes]) -> None:
        """Sort in events; a line that is none is passed over."""
        for line in lines:
            event = read_event(line)
            match event.get("event"):
                case "stepped":
                    self.steps.append(event)
                case "started":
                    self.started = event
                case "evaluated":
                    self.evaluations.append({name: event.get(name) for name in EVALUATION})
                case "certified":
                    self.certificates.append({name: event.get(name) for name in CERTIFICATE})
                case "sampled":
                    self.samples.append({"step": event["step"], "text": event.get("text")})
                case "notice" | "replanned" | "failed":
                    self.notices.append({"step": event["step"], "message": event.get("message")})

    def document(self, points: int = POINTS) -> dict[str, Any]:
        """The curves as JSON values, thinned evenly; first and last points stay."""
        steps = thinned(self.steps, points)
        return {
            **{name: [event.get(which) for event in steps] for name, which in COLUMNS.items()},
            "tokens_per_step": self.started.get("tokens_per_step"),
            "characters_per_token": self.started.get("characters_per_token"),
            "rungs": self.started.get("rungs", {}),
            "evaluations": thinned(self.evaluations, points),
            "certificates": thinned(self.certificates, points),
            "samples": thinned(self.samples, TEXTS),
            "notices": thinned(self.notices, TEXTS),
        }

    @property
    def empty(self) -> bool:
        """Whether nothing was told that is drawn."""
        return not (self.steps or self.started or self.evaluations or self.samples or self.notices)


def read_event(line: bytes) -> dict[str, Any]:
    """One line of a file of events; {} for a line that is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) and type(event.get("step")) is int else {}


def thinned(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly spread, the first and the last among them.

    >>> thinned(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[len(items) - most :])
    return [items[i * (len(items) - 1) // (most - 1)] for i in range(most)]
