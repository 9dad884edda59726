"""The C files of this folder, compiled at first use into a folder that goes with the process."""

import ctypes
import subprocess
import tempfile
import weakref
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
    folder = tempfile.TemporaryDirectory(prefix="clearhead-", ignore_cleanup_errors=True)
    target = Path(folder.name) / "steps.so"
    sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
    for openmp in (["-fopenmp"], []):  # clang on a Mac has no OpenMP
        try:
            subprocess.run(
                [compiler, *FLAGS, *openmp, *sources, "-o", str(target), "-lm"],
                check=True,
                capture_output=True,
                timeout=60,
            )
            found = ctypes.CDLL(str(target))
        except (OSError, subprocess.SubprocessError):
            continue
        weakref.finalize(found, folder.cleanup)
        return found
    return None
