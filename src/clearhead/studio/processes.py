"""Programs that outlive the server: each in a session of its own, its output in a log whose lock says that it lives.

The log is locked before the program begins, and the program holds it as its standard output: the lock ends with the
program, however that ends, and a server that was started again can ask for it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clearhead.errors import StorageError
from clearhead.files import storing
from clearhead.runs.lock import lock_file, locked

PAUSE = 0.05
"""Seconds between two looks at a program that is waited for."""
ERROR = b"clearhead: "
"""How the line begins in which a command says what went wrong."""
END_OF_LOG = 1 << 16
"""Bytes of a log that are searched for it."""


class Processes:
    """The programs that this server has started, by their logs; those of a server before it are found by the lock."""

    def __init__(self) -> None:
        self._children: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, log: Path, module: str, words: Sequence[str]) -> int:
        """Run a module of ours with these words; its number. StorageError when the log cannot be written."""
        with storing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            output = log.open("wb")
        with output:
            if not lock_file(output):
                raise StorageError(f"{log} is still written by another program; wait for it")
            child = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[log] = child
        return child.pid

    def alive(self, log: Path) -> bool:
        """Whether the program of a log runs."""
        child = self._children.get(log)
        if child is not None:
            if child.poll() is None:
                return True
            del self._children[log]
        return locked(log)

    def wait(self, log: Path, seconds: float) -> bool:
        """Wait for the program of a log to end; whether it has."""
        until = time.monotonic() + seconds
        while self.alive(log):
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE)
        return True


def ask_to_end(pid: int) -> None:
    """SIGTERM: whoever trains saves first. On Windows it ends at once, and the last checkpoint stands."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)


def complaint(log: Path) -> str | None:
    """The last line in which a command said what went wrong; None where it said nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - END_OF_LOG))
            lines = file.read().splitlines()
    except OSError:
        return None
    said = [line for line in lines if line.startswith(ERROR)]
    return said[-1].removeprefix(ERROR).decode("utf-8", "replace").strip() if said else None
