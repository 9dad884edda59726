"""How much memory there is, how much this process holds, and how much a computation would: none of it allocated."""

import ctypes
import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clearhead.errors import OutOfMemoryError

LARGE = 32 << 20
"""Bytes from which on a block is the system's, fetched and handed back by itself (see `runtime.keep_memory`)."""


@dataclass
class Bytes:
    """Bytes by kind of device, and on a CPU by the size of the blocks: "cpu", "cpu small", "cpu large"."""

    live: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)

    def add(self, size: int, kind: str) -> None:
        """Count a block, or with a negative size its end."""
        for name in (kind, f"{kind} {'large' if abs(size) >= LARGE else 'small'}"):
            self.live[name] += size
            self.peak[name] = max(self.peak[name], self.live[name])


class TensorMeter(TorchDispatchMode):
    """Counts the bytes of all storages that operations inside the block make, by kind of device, until they are freed.

    It sees real tensors and fake ones alike; what a kernel takes inside itself it does not see.

    >>> with TensorMeter() as meter:
    ...     kept = torch.ones(1000).exp()
    >>> meter.live["cpu"], meter.peak["cpu"]
    (4000, 8000)
    """

    def __init__(self) -> None:
        super().__init__()
        self._bytes = Bytes()
        self._known: dict[int, weakref.ref[Any]] = {}

    @property
    def live(self) -> Counter[str]:
        """What has not been freed."""
        return self._bytes.live

    @property
    def peak(self) -> Counter[str]:
        """The most that was live at one time."""
        return self._bytes.peak

    def forget_peak(self) -> None:
        """Let the peak begin at what is live now."""
        self._bytes.peak = Counter(self.live)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what is new in its results."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size, kind = id(storage), storage.nbytes(), tensor.device.type
        if key in self._known:
            return

        def freed(_: object) -> None:
            self._bytes.add(-size, kind)
            del self._known[key]

        self._known[key] = weakref.ref(storage, freed)
        self._bytes.add(size, kind)


@contextmanager
def pretending(dtype: torch.dtype) -> Iterator[TensorMeter]:
    """A block whose tensors have shapes, types and a device but no memory, and a meter of what they would take.

    Weights are of the type.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), TensorMeter() as meter:
            yield meter
    finally:
        torch.set_default_dtype(before)


def resident() -> int | None:
    """Bytes of main memory that this process holds now; None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_resident()  # macOS tells the most that it ever was: too much rather than too little


def peak_resident() -> int | None:
    """The most bytes of main memory that this process has held; None where the system does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # the ru_maxrss of a child begins with its parent's
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def free_memory() -> int | None:
    """Bytes of main memory that programs can still have, in a container within its limit; None where nobody tells."""
    found = [size for size in (_available(), _left_in_container()) if size is not None]
    return min(found, default=None)


def _available() -> int | None:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _available_on_windows()
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: all there is
    return None


def _available_on_windows() -> int | None:
    """ullAvailPhys of GlobalMemoryStatusEx, the third of the numbers behind two of 32 bits."""
    status = (ctypes.c_uint64 * 8)(64)  # the first 32 bits are the structure's length
    with suppress(AttributeError, OSError):
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # pyright: ignore[reportAttributeAccessIssue]
            return status[2]
    return None


def _left_in_container() -> int | None:
    """What a control group of Linux (version 2, then 1) leaves; None where there is no limit."""
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            most, now = (int(Path(folder, name).read_text()) for name in (limit, used))
            rows = (line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
            files = next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)  # dropped when there is need
            return max(0, most - now + files)
    return None


@contextmanager
def memory_bounded(advice: Callable[[], str]) -> Iterator[None]:
    """Turn the many ways in which memory runs out into an OutOfMemoryError with the advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # A CPU's and an MPS device's allocators have no class of their own: they say it in words.
        words = str(error).lower()
        if not isinstance(error, MemoryError) and not any(
            said in words for said in ("out of memory", "can't allocate memory", "not enough memory")
        ):
            raise
        reason = (str(error) or "no memory is left").splitlines()[0][:120]
        raise OutOfMemoryError(f"out of memory: {reason}; {advice()}") from None
