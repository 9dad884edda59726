"""What every rung of the ladder answers: one call, one cache, one way to be saved.

Shapes: B rows, T positions, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from clearhead.errors import CheckpointError
from clearhead.models.windows import Ids


class Output(NamedTuple):
    """Unpacks as the lecture's `logits, loss`."""

    logits: Tensor
    """(B, T, V): unnormalised log-probabilities of the next token, at every position."""
    loss: Tensor | None
    """Scalar mean cross-entropy in nats per token; None without targets."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits (B, T, V) against targets (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class _NothingDrawn(TorchFunctionMode):
    """Leaves weights as they are where they would be drawn at random."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return (*args, *(kwargs or {}).values())[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def shapes_alone() -> Iterator[None]:
    """A model that is made here has shapes and types but no weights, and takes no memory: all is on the meta device.

    Numbers are not drawn: PyTorch would load its compiler there, which takes a second.
    """
    with torch.device("meta"), _NothingDrawn():
        yield


def check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """CheckpointError where tensors are not those of a model, whose own may be on the meta device."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            raise CheckpointError(f"the weight {name} is {'missing' if name in expected else 'unknown to this model'}")
        mine, theirs = ((tuple(tensor.shape), tensor.dtype) for tensor in (expected[name], found[name]))
        if mine != theirs:
            raise CheckpointError(f"the weight {name} has shape and type {theirs}, and the model has {mine}")
        if not bool(found[name].isfinite().all()):
            raise CheckpointError(f"the weight {name} holds numbers that are not finite")


class Cache(ABC):
    """What a model remembers of the tokens it has seen, one slot per row, each with its own length."""

    lengths: Tensor
    """(B,) int64: the number of tokens seen by each row."""

    @abstractmethod
    def rows(self, index: slice) -> "Cache":
        """A view of some rows; what is written through it is written here."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: all lengths become 0."""

    @abstractmethod
    def copy_row(self, source: int, target: int) -> None:
        """Let the row `target` know what the row `source` knows, and nothing else."""

    def precede(self, idx: Tensor) -> None:  # noqa: B027
        """Take note of the tokens idx (B, T) that stand before the window; they are not part of it.

        Nothing, unless a model looks further back than its window (see `LanguageModel.lookback`).
        """


class HistoryCache(Cache):
    """The last `context` tokens of each row: all that a count model needs. (B, context) int64."""

    def __init__(self, slots: int, context: int, device: torch.device | None = None) -> None:
        self.tokens = torch.zeros(slots, context, dtype=torch.long, device=device)
        self.lengths = torch.zeros(slots, dtype=torch.long, device=device)

    def rows(self, index: slice) -> "HistoryCache":
        """A view of some rows."""
        view = object.__new__(HistoryCache)
        view.tokens, view.lengths = self.tokens[index], self.lengths[index]
        return view

    def reset(self) -> None:
        """Forget all rows."""
        self.lengths.zero_()

    def copy_row(self, source: int, target: int) -> None:
        """Let the row `target` know what the row `source` knows."""
        self.tokens[target], self.lengths[target] = self.tokens[source], self.lengths[source]

    def precede(self, idx: Tensor) -> None:
        """Remember idx (B, T) like any tokens: a count model makes no difference between a window and before."""
        self.extend(idx.to(self.tokens.device))

    def extend(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Append idx (B, T); return the history before it (B, context), right-aligned, and its lengths (B,).

        `lengths` may exceed `context`; then all of a row's history is valid.
        """
        history, lengths = self.tokens.clone(), self.lengths.clone()
        context = self.tokens.shape[1]
        if context:
            self.tokens.copy_(torch.cat([self.tokens, idx], dim=1)[:, -context:])
        self.lengths += idx.shape[1]
        return history, lengths


class LanguageModel(nn.Module, ABC):
    """A distribution over the next token, given the tokens so far."""

    kind: ClassVar[str]
    """The registry's name of the class, written into checkpoints."""
    vocab_size: int
    block_size: int | None = None
    """The most tokens one call accepts; None when any number will do."""
    context: int
    """How many tokens, the current one included, can influence a prediction."""
    lookback: int = 0
    """How many tokens before a window of `block_size` still matter, told to a cache by `precede`."""

    @abstractmethod
    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Logits for the token after each of idx (B, T) int64, and the loss when targets (B, T) are given.

        With a cache, idx continues what the cache has seen, and is added to it.
        """

    @abstractmethod
    def new_cache(self, slots: int) -> Cache:
        """An empty cache for `slots` rows."""

    def cache_after(self, before: Tensor) -> Cache:
        """A fresh cache for a window that follows the tokens `before` (B, T), T may be 0."""
        cache = self.new_cache(len(before))
        cache.precede(before)
        return cache

    def token_losses(self, ids: Ids) -> npt.NDArray[np.float64] | None:
        """Loss in nats (N - 1,) of each of ids[1:] of a stream (N,), given all that precedes it.

        None unless a model knows a faster way to it than `forward`, whose logits hold the whole vocabulary.
        """
        return None

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values: `from_config(to_config())` is the same model, other weights."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model that `to_config` described, with fresh weights."""

    @classmethod
    def restore(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The model with the weights of a checkpoint; CheckpointError names the first that does not fit.

        Names, shapes and types are compared before memory is taken: a file may claim any size.
        """
        weights = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
        dtype = torch.float64 if weights and all(each == torch.float64 for each in weights) else torch.float32
        with shapes_alone():
            expected = cls.from_config(config).to(dtype).state_dict()
        check_tensors(expected, tensors)
        model = cls.from_config(config).to(dtype)  # trained in float64, used in float64
        model.load_state_dict(tensors)
        return model

    def num_parameters(self) -> int:
        """The number of trainable scalars (tied weights once); for a count model, of stored counts."""
        return sum(p.numel() for p in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        first = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device


@contextmanager
def evaluating(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode without gradients inside, the mode of before outside."""
    training = model.training
    if training:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            model.train()
