"""The machine: device, precision, threads, ranks, folders, seeds. The only reader of the environment."""

import ctypes
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.config import TrainConfig
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, in glibc's malloc.h


def cache_dir() -> Path:
    """Where tokens and downloaded corpora are kept: CLEARHEAD_CACHE, else the system's place for caches."""
    return _folder("CLEARHEAD_CACHE", "cache", "Caches", "XDG_CACHE_HOME", Path(".cache"))


def state_dir() -> Path:
    """Where progress is kept: CLEARHEAD_STATE, else the system's place for what programs remember."""
    return _folder("CLEARHEAD_STATE", "state", "Application Support", "XDG_STATE_HOME", Path(".local", "state"))


def _folder(variable: str, windows: str, mac: str, xdg: str, home: Path) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "clearhead" / windows
    if sys.platform == "darwin":
        return Path.home() / "Library" / mac / "clearhead"
    return Path(os.environ.get(xdg) or Path.home() / home) / "clearhead"


def corpora_dirs() -> list[Path]:
    """Folders searched for named corpora: those of CLEARHEAD_CORPORA, then the cache's."""
    named = [Path(p).expanduser() for p in os.environ.get("CLEARHEAD_CORPORA", "").split(os.pathsep) if p]
    return [*named, cache_dir() / "corpora"]


def share_cores() -> None:
    """Let waiting threads sleep sooner; before torch is imported. A user's own choice stands.

    GNU's OpenMP, which torch has on Linux, spins for milliseconds at every barrier, and beside other busy programs
    each spinning thread holds the core that the one it waits for needs: training steps stall
    (benchmarks/sharing.py). Spinning 2,000 times before sleeping costs an idle machine nothing that was measured;
    sleeping at once (OMP_WAIT_POLICY=PASSIVE) made its steps 1.8 times as long.

    numpy's products take one thread: it multiplies one row at a time here, and its threads spin without end.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def keep_memory() -> None:
    """Let glibc keep freed memory for the next step, where glibc is; a user's own choice stands.

    By default it hands large blocks back to the system and fetches them anew: at (24, 128) tokens of width 128 that
    was 10,000 page faults and a seventh of the processor time of every step. Blocks over 32 MiB stay the system's.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(OSError, AttributeError):  # another C library has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(parameter, value)


def c_compiler() -> str | None:
    """The system's C compiler, for gcc's and clang's flags; None where there is none, as on most Windows machines."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None) if sys.platform != "win32" else None


def release_memory() -> None:
    """End what `keep_memory` began, and hand free memory back: counting a large text needs other blocks than steps."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


def stream_seed(*parts: int | str) -> int:
    """A seed in 0 .. 2**63 - 1 that is a pure function of its parts: (seed, "dropout", step, micro-step, rank).

    >>> stream_seed(1337, "dropout", 0) == stream_seed(1337, "dropout", 0) != stream_seed(1337, "dropout", 1)
    True
    """
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class World:
    """Which of the processes that train one run together this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine."""
    restarts: int = 0
    """How often they were all begun anew."""
    launch: str | None = None
    """The same in every restart, and in no other launch; None for a process that was begun by itself."""


def world() -> World:
    """What torchrun tells of the processes; ConfigError where it cannot be."""
    told = os.environ
    if not {"RANK", "WORLD_SIZE"} <= told.keys():
        return World()
    numbers = {n: told.get(n, "0") for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")}
    rank, size, local_rank, restarts = (int(n) if n.isdecimal() else -1 for n in numbers.values())
    if not 0 <= rank < size or min(local_rank, restarts) < 0:
        said = ", ".join(f"{name}={number}" for name, number in numbers.items())
        raise ConfigError(f"the environment says {said}, which cannot be; begin all processes with torchrun")
    launch = told.get("TORCHELASTIC_RUN_ID", "none")  # "none" is every launch without an --rdzv_id
    return World(rank, size, local_rank, restarts, f"{platform.node()} {os.getppid()}" if launch == "none" else launch)


def share_threads(processes: int = 1, spared: int = 0) -> None:
    """Give each of several processes its part of all cores but those spared; a user's own choice stands."""
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, ((os.cpu_count() or 1) - spared) // processes)))


@dataclass(frozen=True)
class Runtime:
    """Where a run computes and in which precision."""

    device_name: str
    precision: str
    """float32, bfloat16 or float64."""

    @cached_property
    def device(self) -> "torch.device":
        """The torch device."""
        import torch

        return torch.device(self.device_name)

    @property
    def dtype(self) -> "torch.dtype":
        """The type of the weights: float64 when asked for, else float32 (bfloat16 is for computing only)."""
        import torch

        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def exact(self) -> "Runtime":
        """The same device, computing in the type of the weights: for figures that are compared."""
        return replace(self, precision="float32") if self.precision == "bfloat16" else self

    def autocast(self) -> AbstractContextManager[Any]:
        """A context in which matrix products run in bfloat16, when that is the precision."""
        import torch

        if self.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def lag(self) -> int:
        """How many steps are made before the figures of one are read: a GPU that is asked at once stands idle."""
        return 1 if self.device.type == "cuda" else 0

    def fetch(self, values: "torch.Tensor") -> Callable[[], list[float]]:
        """Begin to copy a few values to the CPU; the call waits for that copy alone, and returns them."""
        import torch

        if self.device.type != "cuda":
            return values.tolist
        copy = torch.empty_like(values, device="cpu", pin_memory=True).copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def read() -> list[float]:
            copied.synchronize()
            return copy.tolist()

        return read

    @property
    def room(self) -> int:
        """Bytes of tokens that may stay on the device: a quarter of what is free on a GPU; a CPU maps the file."""
        import torch

        return torch.cuda.mem_get_info(self.device)[0] // 4 if self.device.type == "cuda" else 0

    @property
    def threads(self) -> int:
        """Of the CPU, for sums and products."""
        import torch

        return torch.get_num_threads()

    def use_threads(self, count: int) -> None:
        """Compute with as many threads as before, so that sums are taken in the same order."""
        import torch

        if count != torch.get_num_threads():
            torch.set_num_threads(count)

    def hand_back(self) -> None:
        """Give memory that the device's allocator keeps for later back to the device."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read now is true."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def choose_runtime(config: TrainConfig) -> Runtime:
    """The device and precision that a configuration asks for, "auto" resolved; ConfigError when not to be had."""
    device = choose_device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    if precision == "float64" and device.startswith("mps"):
        raise ConfigError("precision=float64 does not exist on mps; add --device cpu")
    return Runtime(device, precision)


def choose_device(asked: str) -> str:
    """The name of a device that is here: cuda, mps or cpu for "auto", else the one that was asked for.

    Of several processes each has its own GPU.
    """
    import torch

    if asked.startswith("cuda:") and (size := world().size) > 1:
        raise ConfigError(f"device={asked} is one GPU for {size} processes; leave it out, and each takes its own")
    if asked in ("auto", "cuda") and torch.cuda.is_available():
        here, gpus = world(), torch.cuda.device_count()
        if here.local_rank >= gpus:
            raise ConfigError(
                f"local rank {here.local_rank} has none of {gpus} GPUs; begin {gpus}, or add --device cpu"
            )
        return f"cuda:{here.local_rank}" if here.size > 1 else "cuda"
    if asked == "auto":
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=asked)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"device='{asked}' is not available here; try --device auto or --device cpu") from None
    return asked


def native_bfloat16(device: "str | torch.device") -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32: NVIDIA since Ampere, x86 since Cooper Lake."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    has = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch cannot tell
    return device.type == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def environment() -> dict[str, Any]:
    """The machine in words and numbers, as written into environment.json."""
    import numpy
    import torch

    from clearhead import __version__

    return {
        "clearhead": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
