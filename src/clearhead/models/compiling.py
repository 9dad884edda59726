"""The C files of this folder, compiled at first use. What is loaded stays in memory, so nothing is left on the disk."""

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from clearhead.runtime import c_compiler

SOURCES = ("products.c", "attending.c", "gpt_step.c", "mixture_step.c")  # the longest first
FLAGS = (
    *("-O3", "-march=native", "-fPIC"),
    # Sums may be taken in any order; -ffast-math would change how the whole process rounds.
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled steps; None where there is no compiler, or it fails.

    Nothing is kept for the next process: a second of compiling spares a file that fits another processor.
    """
    compiler = c_compiler()
    if compiler is None:
        return None
    # The disk may be full.
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="clearhead-", ignore_cleanup_errors=True) as folder:
        return _compiled(compiler, Path(folder))
    return None


def _compiled(compiler: str, folder: Path) -> ctypes.CDLL | None:
    """All files at once, one to a core, then put together."""
    target = str(folder / "steps.so")
    for openmp in (["-fopenmp"], []):  # clang on a Mac has no OpenMP
        with suppress(OSError, subprocess.SubprocessError), ThreadPoolExecutor() as pool:
            objects = list(pool.map(partial(_object, [compiler, *openmp], folder), SOURCES))
            _run([compiler, *openmp, "-shared", *objects, "-o", target, "-lm"])
            return ctypes.CDLL(target)
    return None


def _object(compiler: Sequence[str], folder: Path, name: str) -> str:
    """Where one file of this folder was compiled to."""
    made = str(folder / f"{name}.o")
    _run([*compiler, *FLAGS, "-c", str(Path(__file__).with_name(name)), "-o", made])
    return made


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
