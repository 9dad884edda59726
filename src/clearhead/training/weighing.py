"""What the tensors of a run take, counted on a step that is made without memory.

Shapes: B rows, T positions, V vocabulary.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import RunConfig, TrainConfig
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import clues
from clearhead.runs.checkpoint import optimizer_tensors
from clearhead.runtime import Runtime
from clearhead.training.memory import TensorMeter, pretending
from clearhead.training.parallel import micro_batches

BESIDE_NUMBERS = 90
"""Bytes of a safetensors header for a tensor, besides its name: type, shape, place."""


@dataclass(frozen=True)
class Taken:
    """The most bytes that were live at one time beside what was there before: of all blocks, and of those that are
    smaller than `memory.LARGE` (at another moment, maybe)."""

    all: int
    small: int


@dataclass(frozen=True)
class Tensors:
    """Bytes, on the device that computes."""

    parameters: int
    """Not bytes: how many there are."""
    weights: int
    """With the tables that follow from the configuration."""
    moments: int
    gradients: int
    step: Taken
    """What a step takes beside weights and moments: gradients, activations, logits, the optimizer's own."""
    evaluation: Taken
    """What an evaluation takes beside them."""
    judging: Taken
    """What a pass in full precision takes, of the mixture where there is one."""
    model_file: int
    optimizer_file: int

    @property
    def held(self) -> int:
        """What stays from step to step."""
        return self.weights + self.moments


def build_model(config: RunConfig, vocab_size: int) -> LanguageModel:
    """The model that gradients train, with the weights that its class gives it."""
    shape = {"vocab_size": vocab_size} if config.trained == "bigram" else asdict(config.gpt(vocab_size))
    return registry.resolve("models", config.trained).from_config(shape)


def weigh(config: RunConfig, vocab_size: int, runtime: Runtime) -> Tensors:
    """What a run of this configuration takes: its own operations on tensors that have shapes and no memory."""
    train, device = config.train, runtime.device
    with pretending(runtime.dtype) as meter:
        with torch.device(device):
            model = build_model(config, vocab_size)
        weights = meter.live[device.type]
        optimizer = registry.resolve("optimizers", train.optimizer)(model, train)
        make_step(model, optimizer, train, runtime)  # brings the moments
        second = Counted(meter, device)
        make_step(model, optimizer, train, runtime)
        step = second.peak()
        moments = optimizer_tensors(optimizer, model)
        return Tensors(
            parameters=model.num_parameters(),
            weights=weights,
            moments=sum(tensor.nbytes for tensor in moments.values()),
            gradients=sum(weight.nbytes for weight in model.parameters()),
            step=step,
            evaluation=_evaluation(model, train, runtime, meter),
            judging=_judging(model, train, runtime, meter),
            model_file=file_size(model.state_dict()),
            optimizer_file=file_size(moments),
        )


class Counted:
    """What is taken from here on."""

    def __init__(self, meter: TensorMeter, device: torch.device) -> None:
        self.meter, self.kinds = meter, (device.type, f"{device.type} small")
        meter.forget_peak()
        self.before = Counter(meter.live)

    def peak(self) -> Taken:
        """The most bytes since, beside what was live before."""
        return Taken(*(self.meter.peak[kind] - self.before[kind] for kind in self.kinds))


def make_step(model: LanguageModel, optimizer: torch.optim.Optimizer, train: TrainConfig, runtime: Runtime) -> None:
    """The operations of `Trainer.step` on a batch of zeros."""
    loss = compute_gradients(model, train, runtime)
    torch.stack([loss, clip_grad_norm_(model.parameters(), train.grad_clip or math.inf)])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def compute_gradients(model: LanguageModel, train: TrainConfig, runtime: Runtime) -> Tensor:
    """Those of `Trainer.gradients`, of the parts of the batch the first three: others take no more."""
    loss = torch.zeros((), device=runtime.device, dtype=runtime.dtype)
    parts = micro_batches(*_batch(train.batch_size, train.block_size, runtime), train.accumulation, train.batch_size)
    for x, y, share in islice(parts, 3):
        with runtime.autocast():
            _, part = model(x, y)
        assert part is not None
        (part * share).backward()
        loss += part.detach() * share
    return loss


def weigh_passes(config: RunConfig, vocab_size: int, runtime: Runtime) -> Taken:
    """What the forward and the backward pass of a step take beside weights, where no gradient is kept."""
    with pretending(runtime.dtype) as meter:
        with torch.device(runtime.device):
            model = build_model(config, vocab_size)
        for weight in model.parameters():
            weight.register_post_accumulate_grad_hook(lambda weight: setattr(weight, "grad", None))
        counted = Counted(meter, runtime.device)
        compute_gradients(model, config.train, runtime)
        return counted.peak()


def _batch(B: int, T: int, runtime: Runtime) -> tuple[Tensor, Tensor]:
    x, y = (torch.zeros(B, T, dtype=torch.long, device=runtime.device) for _ in range(2))
    return x, y


def _evaluation(model: LanguageModel, train: TrainConfig, runtime: Runtime, meter: TensorMeter) -> Taken:
    """A batch of the quick estimate, which is never in parts, or windows of dev, whichever takes more."""
    counted = Counted(meter, runtime.device)
    with evaluating(model), runtime.autocast():
        x, y = _batch(train.batch_size, train.block_size, runtime)
        model(x, y)
        x, y = _windows(model, train, runtime)
        F.cross_entropy(model(x).logits.flatten(0, 1).float(), y.flatten(), reduction="none")
    return counted.peak()


def _judging(model: LanguageModel, train: TrainConfig, runtime: Runtime, meter: TensorMeter) -> Taken:
    """What `evaluation.mixing.score_parts` does with windows of a GPT, beside what the n-gram does in numpy."""
    counted = Counted(meter, runtime.device)
    with evaluating(model), runtime.exact.autocast():
        x, y = _windows(model, train, runtime)
        logits = model(x).logits
        neural = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)  # (B, T, V)
        if isinstance(model, GPTLanguageModel):
            told = torch.empty(neural.shape)  # the n-gram answers from main memory
            clues(told.to(neural), neural, seen=x, read=y)
    return counted.peak()


def _windows(model: LanguageModel, train: TrainConfig, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """x, y of one call in which a split is scored."""
    T = model.block_size or tokens_per_call(model)
    return _batch(max(1, tokens_per_call(model) // T), T, runtime)


def file_size(tensors: Mapping[str, Tensor | NDArray[Any]]) -> int:
    """Bytes of a safetensors file."""
    return sum(tensor.nbytes + len(name) + BESIDE_NUMBERS for name, tensor in tensors.items())
