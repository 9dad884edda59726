"""The C files of this folder, compiled at first use. What is loaded stays in memory, so nothing is left on the disk."""

import ctypes
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from clearhead.runtime import c_compiler

SOURCES = ("gpt_step.c", "mixture_step.c")
FLAGS = (
    *("-O3", "-march=native", "-shared", "-fPIC"),
    # Sums may be taken in any order; -ffast-math would change how the whole process rounds.
    *("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled steps; None where there is no compiler, or it fails.

    Nothing is kept for the next process: half a second of compiling spares a file that fits another processor.
    """
    compiler = c_compiler()
    if compiler is None:
        return None
    # The disk may be full.
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="clearhead-", ignore_cleanup_errors=True) as folder:
        return _compiled(compiler, str(Path(folder, "steps.so")))
    return None


def _compiled(compiler: str, target: str) -> ctypes.CDLL | None:
    sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
    for openmp in (["-fopenmp"], []):  # clang on a Mac has no OpenMP
        command = [compiler, *FLAGS, *openmp, *sources, "-o", target, "-lm"]
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            return ctypes.CDLL(target)
    return None
