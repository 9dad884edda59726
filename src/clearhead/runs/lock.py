"""One writer per run: a lock that dies with the process that holds it."""

import os
import time
from pathlib import Path
from typing import BinaryIO

from clearhead.errors import CheckpointError
from clearhead.files import storing

_FAR = 1 << 30
"""On Windows a lock keeps others from reading what it covers: so it covers a byte far behind the holder's number."""
TRIES, PAUSE = 5, 0.02
"""Who asks whether a run is being trained holds its lock for a moment; it is tried so often, so many seconds apart."""


class RunLock:
    """The right to write into a run.

    The system's own file lock: it ends with its process however that ends, so a lock left behind by a kill is none.
    CheckpointError names the process that holds it.
    """

    def __init__(self, path: Path) -> None:
        with storing(path):
            self._file: BinaryIO | None = path.open("a+b")
            if not _lock_patiently(self._file):
                holder = _holder(self._file) or "unknown"
                self._file.close()
                raise CheckpointError(
                    f"run {path.parent} is being trained by process {holder}; wait for it, or stop it first"
                )
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
            self._file.flush()

    def release(self) -> None:
        """Let others write. Twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None


def holder_of(path: Path) -> int | None:
    """The process that holds a run's lock; None where nobody does."""
    try:
        with path.open("r+b") as file:
            return None if lock_file(file) else int(_holder(file) or 0) or None
    except (OSError, ValueError):
        return None


def locked(path: Path) -> bool:
    """Whether somebody holds a lock on a file."""
    try:
        with path.open("r+b") as file:
            return not lock_file(file)
    except OSError:
        return False


def _lock_patiently(file: BinaryIO) -> bool:
    for _ in range(TRIES - 1):
        if lock_file(file):
            return True
        time.sleep(PAUSE)
    return lock_file(file)


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(20).decode(errors="replace")


if os.name == "nt":
    import msvcrt

    def lock_file(file: BinaryIO) -> bool:
        """Lock an open file until it is closed; False where somebody has."""
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock_file(file: BinaryIO) -> bool:
        """Lock an open file until it is closed; False where somebody has."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
