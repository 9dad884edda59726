"""One writer per run: a lock that dies with the process that holds it."""

import os
from pathlib import Path
from typing import BinaryIO

from clearhead.errors import CheckpointError
from clearhead.files import storing

_FAR = 1 << 30
"""On Windows a lock keeps others from reading what it covers: so it covers a byte far behind the holder's number."""


class RunLock:
    """The right to write into a run.

    The system's own file lock: it ends with its process however that ends, so a lock left behind by a kill is none.
    CheckpointError names the process that holds it.
    """

    def __init__(self, path: Path) -> None:
        with storing(path):
            self._file: BinaryIO | None = path.open("a+b")
            if not _try_lock(self._file):
                holder = _holder(self._file)
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


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(20).decode(errors="replace") or "unknown"


if os.name == "nt":
    import msvcrt

    def _try_lock(file: BinaryIO) -> bool:
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
