"""How fast many processes are: from a step measured on one, the bytes that ranks move, and the speed between them.

N ranks; W bytes of weights in float32, as many of gradients. What one rank sends in a step, it also receives.
"""

import math
from dataclasses import dataclass
from typing import Literal

from clearhead.training.dividing import Groups

Parallel = Literal["ddp", "fsdp"]

BUCKET = 25 << 20
"""Bytes of gradients that DDP sends together, by default."""
FORWARD = 1 / 3
"""Of a step: the backward pass multiplies twice where the forward pass does once."""


@dataclass(frozen=True)
class Model:
    """What is sent of a model."""

    weights: int
    """Bytes, in the type they are kept in: autocast rounds after the gathering."""
    groups: Groups
    blocks: int

    @property
    def buckets(self) -> int:
        """In how many messages DDP sends the gradients."""
        return math.ceil(self.weights / BUCKET)


@dataclass(frozen=True)
class Link:
    """What lies between two ranks."""

    speed: float
    """Bytes per second that a rank sends while all do, as `nccl-tests` counts ("bus bandwidth")."""
    latency: float
    """Seconds of a message that holds nothing, for each doubling of the ranks."""


@dataclass(frozen=True)
class Moved:
    """What a rank sends in a step."""

    forward: float
    """Bytes, while the forward pass could be computed."""
    backward: float
    first: float
    """Bytes of the forward pass before which nothing can be computed."""
    last: float
    """Bytes of the backward pass that begin when everything is computed."""
    forward_messages: int
    backward_messages: int

    @property
    def bytes(self) -> float:
        """In all."""
        return self.forward + self.backward


def moved(model: Model, parallel: Parallel, processes: int, accumulation: int = 1) -> Moved:
    """What a rank sends in a step of so many micro-batches.

    DDP sums gradients around a ring, 2 (N - 1) / N W bytes (Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce
    algorithms"). FSDP2 gathers all weights for the forward pass, those of the blocks again for the backward pass, and
    scatters the summed gradients, (N - 1) / N W each.

    >>> model = Model(weights=1000, groups=Groups(block=200, rest=200), blocks=4)
    >>> moved(model, "ddp", 2).bytes, moved(model, "fsdp", 2).bytes, moved(model, "fsdp", 1).bytes
    (1000.0, 1400.0, 0.0)
    """
    share, weights, rest = (processes - 1) / processes, model.weights, model.groups.rest
    if parallel == "ddp":
        last = min(BUCKET, weights)
        return Moved(0.0, 2 * share * weights, 0.0, 2 * share * last, 0, model.buckets)
    return Moved(
        forward=accumulation * share * weights,
        backward=share * (accumulation * (weights - rest) + weights),
        first=accumulation * share * (rest + model.groups.block),
        last=share * rest,
        forward_messages=accumulation * (model.blocks + 1),
        backward_messages=accumulation * model.blocks + model.blocks + 1,
    )


def step_seconds(alone: float, sent: Moved, link: Link, processes: int, overlap: float = 1.0) -> float:
    """Seconds of a step that takes one process `alone` seconds for the same rows.

    `overlap` is the share of computing time in which messages move as well: 1 where the network does it by itself,
    0 where the same cores compute and send.
    """
    if processes == 1:
        return alone

    def takes(size: float, messages: int) -> float:
        return size / link.speed + messages * link.latency * math.log2(processes)

    forward, backward = takes(sent.forward, sent.forward_messages), takes(sent.backward, sent.backward_messages)
    waits = max(sent.first / link.speed, forward - overlap * FORWARD * alone)
    waits += max(sent.last / link.speed, backward - overlap * (1 - FORWARD) * alone)
    return alone + waits
