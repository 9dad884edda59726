"""What people take for the end of a bigram's training, beside the certificate, and why each can mislead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from torch import Tensor

from clearhead.evaluation.certificate import Certificate, Pairs, certify

PLATEAU = 0.01
"""Nats between two evaluations that look like none."""
STILL = 1e-4
"""The change of a row in a step that is taken for stillness."""

Kept = Sequence[tuple[int, Tensor]]
"""Step and table (V, V) of the checkpoints that are kept, ascending."""


@dataclass(frozen=True)
class Moment:
    """The table at one evaluation."""

    step: int
    gap: float
    """Bits, as are leak and misfit."""
    leak: float
    misfit: float
    train: float | None
    """Estimate in nats, as is val; None where it was not kept."""
    val: float | None


@dataclass(frozen=True)
class Signal:
    """A figure that people go by."""

    name: str
    value: float
    unit: str
    looks_done: bool | None
    """Whether it would be taken for the end of training; None where there is no such rule."""
    misleads: str
    """Why it cannot say so."""


def history_of(events: Sequence[Mapping[str, Any]], kept: Kept, pairs: Pairs) -> tuple[Moment, ...]:
    """The gap over steps, from a run's events; of a run that did not tell it, from the checkpoints that are kept."""
    losses = {event["step"]: event for event in events if event["event"] == "evaluated"}
    told = [(e["step"], e["gap"], e["leak"], e["misfit"]) for e in events if e["event"] == "certified"]
    if not told:
        certificates = [(step, certify(table, pairs)) for step, table in kept]
        told = [(step, found.gap, found.leak, found.misfit) for step, found in certificates]
    moments = []
    for step, *nats in told:
        loss = losses.get(step, {})
        moments.append(Moment(step, *(n / log(2) for n in nats), train=loss.get("train"), val=loss.get("val")))
    return tuple(moments)


def row_change(before: Tensor, after: Tensor) -> float:
    """The mean over rows of sum |softmax after - softmax before|, for tables (V, V): 0 for equal ones, 2 at most."""
    return float((after.double().softmax(-1) - before.double().softmax(-1)).abs().sum(-1).mean())


def signals_of(found: Certificate, history: Sequence[Moment], kept: Kept) -> tuple[Signal, ...]:
    """The signals that a run's history allows."""
    signals = []
    trained = [moment for moment in history if moment.train is not None]
    if len(trained) > 1:
        before, after = trained[-2:]
        change = (after.train or 0.0) - (before.train or 0.0)
        unit = f"nats since step {before.step:,}"
        signals.append(
            Signal("loss plateau", change, unit, abs(change) < PLATEAU, "small steps look like this at any height")
        )
    if len(kept) > 1:
        (first, before), (last, after) = kept[-2:]
        change = row_change(before, after) / max(1, last - first)
        why = "a slower learning rate is stiller, and further away"
        unit = f"a step since {first:,}"
        signals.append(Signal("rows move (L1)", change, unit, change < STILL, why))
    why = "most cells are near 0 in both, and rare rows count like others"
    signals.append(Signal("|softmax - counts|", found.difference, "mean of all cells", None, why))
    if trained and (val := trained[-1].val) is not None:
        gap = val - (trained[-1].train or 0.0)
        why = "about other text than the table's own; untrained it is near 0"
        signals.append(Signal("val - train", gap, "nats", None, why))
    return tuple(signals)
