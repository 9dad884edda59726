"""What one of several processes takes: its part of a batch; of the model all of it (DDP), or its part (FSDP2).

N processes, each with a share of the rows. DDP (Li et al. 2020, "PyTorch distributed") keeps gradients in buckets that
stay. FSDP2 keeps an N-th of weights, gradients and moments, and whole for a while: what belongs to no block, from the
forward pass to the end of the backward pass, and two blocks, the one that is computed and the one that is fetched.
"""

from dataclasses import dataclass, replace

import torch

from clearhead.config import RunConfig
from clearhead.models.base import shapes_alone
from clearhead.runtime import Runtime
from clearhead.training.sharding import blocks
from clearhead.training.weighing import Tensors, build_model, weigh_passes


@dataclass(frozen=True)
class Groups:
    """Bytes of weights that FSDP2 gathers together."""

    block: int
    """Of the largest block."""
    rest: int
    """Of what belongs to no block: embeddings, the last norm, the head."""


@dataclass(frozen=True)
class Part:
    """Bytes of one process, beside what it is made of before it has a model."""

    weights: int
    moments: int
    gradients: int
    gathered: int
    """What is whole for a while in a step, or stands beside what it is a copy of."""
    shown: int
    """What of that is whole in an evaluation."""
    passes: int
    """Activations and logits of its rows."""
    beginning: int
    """Main memory before the first step: its own first weights, and rank 0's."""
    saving: int
    """Main memory for what it writes of a checkpoint, while it makes no step."""

    @property
    def held(self) -> int:
        """What stays from step to step."""
        return self.weights + self.moments

    @property
    def step(self) -> int:
        """What a step takes beside that, at most."""
        return self.gradients + self.gathered + self.passes


def share_of(config: RunConfig, processes: int) -> RunConfig:
    """The configuration by which one process computes what the busiest of several does.

    >>> train = share_of(RunConfig().with_settings({"batch_size": 12, "accumulation": 4}), 5).train
    >>> train.batch_size, train.accumulation
    (4, 2)
    """
    train = config.train
    rows, parts = -(-train.batch_size // processes), min(train.accumulation, train.batch_size // processes)
    share = {"accumulation": parts, "batch_size": parts * -(-rows // parts)}
    return replace(config, train=replace(train, **share))


def weigh_groups(config: RunConfig, vocab_size: int, dtype: torch.dtype) -> Groups:
    """What FSDP2 gathers of a model."""
    with shapes_alone():
        model = build_model(config, vocab_size).to(dtype)
    each = [sum(weight.nbytes for weight in block.parameters()) for block in blocks(model)]
    return Groups(max(each, default=0), sum(weight.nbytes for weight in model.parameters()) - sum(each))


def weigh_part(config: RunConfig, vocab_size: int, runtime: Runtime, tensors: Tensors, processes: int) -> Part:
    """What each of the processes takes; `tensors` is what one process would that makes the same steps."""
    mine = share_of(config, processes)
    passes = weigh_passes(mine, vocab_size, runtime).all
    weights, moments, gradients = tensors.weights, tensors.moments, tensors.gradients
    if config.train.parallel == "ddp":  # rank 0 alone saves, from a copy
        return Part(weights, moments, gradients, gathered=0, shown=0, passes=passes, beginning=2 * weights, saving=0)
    groups = weigh_groups(config, vocab_size, runtime.dtype)
    # Of a block that is gathered its buffer and its weights, of one that is reduced its gradients and what is sent.
    shown, gathered = groups.rest + 4 * groups.block, 2 * groups.rest + 4 * groups.block
    if mine.train.accumulation > 1:  # gradients wait whole until the last part of the batch
        gathered += gradients
    return Part(
        weights=-(-weights // processes),
        moments=-(-moments // processes),
        gradients=-(-gradients // processes),
        gathered=gathered,
        shown=shown,
        passes=passes,
        beginning=2 * weights,
        saving=-(-(weights + moments) // processes),
    )
