"""How a step is computed on this device and by these processes: micro-batches, precision, compilation, ranks."""

# torch documents its stores, but does not export them to type checkers.
# pyright: reportPrivateImportUsage=false

import atexit
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clearhead.config import TrainConfig
from clearhead.errors import ConfigError, RankLostError
from clearhead.models.base import LanguageModel, Output
from clearhead.runtime import Runtime, World

Forward = Callable[[Tensor, Tensor], Output]
Value = TypeVar("Value")

COMPILE_PAYS_AFTER = 1_000
"""Steps: below it a GPU run ends before the compiler's warm-up is earned back."""
TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for one that stands still: as long as reading a text may take. One that ended is missed."""
_LOST = ("gloo", "nccl", "connection closed", "connection reset", "timed out")
"""What PyTorch says, among other words, where a rank did not answer."""


def wants_compile(config: TrainConfig, runtime: Runtime) -> bool:
    """Whether a run should be compiled. On a CPU "auto" does not: it took 23 s to warm up for about 10 %."""
    pays = runtime.device.type == "cuda" and config.max_iters >= COMPILE_PAYS_AFTER
    return config.compile == "on" or (config.compile == "auto" and pays)


def compile_forward(model: LanguageModel, runtime: Runtime, probe: tuple[Tensor, Tensor]) -> tuple[Forward, str | None]:
    """The compiled forward pass, or the model itself and one line that says why compiling did not work.

    `probe` is a batch (x, y) of the shapes to come: it is run once forward and backward, so that a compiler that
    fails does so here, not at step 1.
    """
    try:
        compiled = torch.compile(model, dynamic=False)
        with runtime.autocast():
            _, loss = compiled(*probe)
        loss.backward()
    except Exception as error:  # a compiler fails in its own ways: missing toolchain, unsupported operator, ...
        return (
            model,
            f"torch.compile did not work ({str(error).splitlines()[0][:120]}); training goes on without it",
        )
    finally:
        model.zero_grad(set_to_none=True)
    return compiled, None


def micro_batches(x: Tensor, y: Tensor, count: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Rows (R, T) of a batch in `count` parts as equal as can be, none empty, each with its share of the batch."""
    count = min(count, len(x))
    for part_x, part_y in zip(x.tensor_split(count), y.tensor_split(count), strict=True):
        yield part_x, part_y, len(part_x) / batch_size


@dataclass(frozen=True)
class Ranks:
    """The processes that train one run together, and which of them this is. Alone, every call is nothing.

    What is shared or added has the same bits on every rank, so that all decide alike.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, here: World) -> Self:
        """Meet the other processes, where there are others."""
        if here.size > 1:
            with missing_nobody():
                meeting, *_ = next(iter(dist.rendezvous("env://", timeout=TIMEOUT)))
                assert isinstance(meeting, dist.TCPStore)
                store = _own_store(meeting, here.rank == 0)
                backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
                dist.init_process_group(backend, store=store, rank=here.rank, world_size=here.size, timeout=TIMEOUT)
        ranks = cls(here.rank, here.size)
        atexit.register(ranks.leave)  # however it ends: a group that outlives the interpreter aborts the process
        return ranks

    def leave(self) -> None:
        """Part: nothing is shared any more, no forward pass kept that `synchronised` has made. Twice is harmless."""
        if self.size > 1 and dist.is_initialized():
            # DDP is in cycles. As the group's last holder it would end it with Python's lock held, for which the
            # group's threads may wait: then neither ends.
            gc.collect()
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this rank writes and tells."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The samples of a batch that this rank computes, in parts as equal as can be.

        >>> [Ranks(rank, 3).rows(8) for rank in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(batch_size * self.rank // self.size, batch_size * (self.rank + 1) // self.size)

    def share(self, value: Value) -> Value:
        """Rank 0's value."""
        if self.size == 1:
            return value
        held: list[Any] = [value]
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]

    def share_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's tensors, on the CPU."""
        described = self.share({name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        held = {
            name: tensors[name].detach().cpu() if self.first else torch.empty(shape, dtype=dtype)
            for name, (shape, dtype) in described.items()
        }
        for tensor in held.values() if self.size > 1 else ():
            dist.broadcast(tensor, src=0)
        return held

    def sum(self, values: Tensor) -> Tensor:
        """The ranks' values, of any shape, added in the order of the ranks, on the device; it is not waited for."""
        if self.size == 1:
            return values
        found = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(found, values)
        return torch.stack(found).sum(0)

    def total(self, *values: float) -> list[float]:
        """The ranks' numbers, added in float64."""
        return list(values) if self.size == 1 else self.sum(torch.tensor(values, dtype=torch.float64)).tolist()

    def most(self, value: int) -> int:
        """The largest of the ranks' numbers."""
        if self.size == 1:
            return value
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def any(self, here: bool) -> bool:
        """Whether it is so on any rank."""
        return bool(self.most(here))

    def synchronised(self, forward: Forward, runtime: Runtime, probe: tuple[Tensor, Tensor]) -> Forward:
        """The forward pass of a model with rank 0's weights, whose backward pass averages gradients over the ranks.

        DDP sends gradients in buckets while others are computed, and orders them anew once it has seen an order. The
        probe (x, y) shows it one, so that sums are taken alike in every step, also in the first after a resume.
        """
        if self.size == 1 or hasattr(forward, "set_requires_gradient_sync"):  # FSDP2 does both itself
            return forward
        assert isinstance(forward, nn.Module)
        with warnings.catch_warnings():  # PyTorch 2.13 has another name for the first flag, which 2.6 does not know
            warnings.simplefilter("ignore", FutureWarning)
            together = DistributedDataParallel(forward, broadcast_buffers=False, gradient_as_bucket_view=True)
        for _ in range(2):
            with runtime.autocast():
                _, loss = together(*probe)
            loss.backward()
            together.zero_grad(set_to_none=True)
        return together


ALONE = Ranks()
"""One process that trains by itself."""


def _own_store(meeting: dist.TCPStore, first: bool) -> dist.TCPStore:
    """A store that begins empty: torchrun's outlives a restart, and knows where processes listened that are gone.

    Rank 0 opens it and says where. What was said before a restart leads nowhere; then it is asked again.
    """
    key, end = "clearhead store", time.monotonic() + TIMEOUT.total_seconds()
    if first:
        store = dist.TCPStore(meeting.host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        meeting.set(key, str(store.port))
        return store
    while True:
        try:
            store = dist.TCPStore(meeting.host, int(meeting.get(key)), is_master=False, timeout=timedelta(seconds=2))
        except dist.DistError:
            if time.monotonic() > end:
                raise
        else:
            store.set_timeout(TIMEOUT)
            return store


def accumulating(forward: Forward, more: bool) -> AbstractContextManager[None]:
    """A context for a part of a batch: where more parts come, the ranks keep their gradients to themselves."""
    if hasattr(forward, "set_requires_gradient_sync"):  # FSDP2's
        forward.set_requires_gradient_sync(not more)  # pyright: ignore[reportFunctionMemberAccess]
    return forward.no_sync() if more and isinstance(forward, DistributedDataParallel) else nullcontext()


def check_ranks(batch_size: int, size: int) -> None:
    """ConfigError where ranks would have no sample to compute."""
    if batch_size < size:
        raise ConfigError(f"batch_size={batch_size} leaves some of {size} processes nothing; try --batch_size {size}")


@contextmanager
def missing_nobody() -> Iterator[None]:
    """Turn the many ways in which PyTorch says that a rank is gone into a RankLostError."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if not isinstance(error, dist.DistError) and not any(said in words.lower() for said in _LOST):
            raise
        reason = words.splitlines()[0].rpartition("] ")[2][:120] if words else type(error).__name__
        raise RankLostError(
            f"another process of this run ended or stands still ({reason}); where torchrun does not begin it anew, "
            "go on with: clearhead resume"
        ) from None
