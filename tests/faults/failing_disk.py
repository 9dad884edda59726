"""A disk that refuses: the k-th request fails, alone or with all that come after it."""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from clearhead.runs import checkpoint
from clearhead.runs.writer import CheckpointWriter

WRITING = ("fsync", "mkdir", "rename", "replace")
DELETING = ("unlink", "rmdir")


class Killed(BaseException):
    """As SIGKILL: nothing after it is done."""


class FailingDisk:
    """Counts what the code under test asks of the disk below `root`; refuses request number `refuse`.

    With `lasting` everything after it is refused too, as on a disk that is full. With `half` the write that is refused
    leaves half of its bytes. Deleting works on a full disk, and is refused by one that is broken or read-only.
    With `Killed` for an error nothing more happens on the disk, cleaning up neither, as when a process is killed.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        root: Path,
        refuse: int | None = None,
        *,
        error: int | type["Killed"] = errno.ENOSPC,
        lasting: bool = True,
        half: bool = False,
    ) -> None:
        self.root, self.refuse, self.error, self.lasting, self.half = root, refuse, error, lasting, half
        self.asked: list[str] = []
        self._open = io.open
        for name in WRITING if error == errno.ENOSPC else (*WRITING, *DELETING):
            patch.setattr(os, name, self._asking(name, getattr(os, name)))
        patch.setattr(io, "open", self.open)
        patch.setattr(builtins, "open", self.open)
        patch.setattr(checkpoint, "save_file", self._save_file(checkpoint.save_file))

    def ask(self, what: str) -> None:
        """Count a request; OSError when it is one that is refused."""
        self.asked.append(what)
        if self.refuse is None or len(self.asked) < self.refuse:
            return
        if self.lasting or len(self.asked) == self.refuse:
            raise OSError(self.error, os.strerror(self.error)) if isinstance(self.error, int) else self.error

    def open(self, file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        """As `open`; what is opened for writing below the root asks before every write."""
        if not set(mode) & set("wax+") or not _below(file, self.root):
            return self._open(file, mode, *rest, **named)
        self.ask(f"open {Path(file).name}")
        raw = _Refusing(self, Path(file), mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding=named.get("encoding"))

    def _asking(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*given: Any, **named: Any) -> Any:
            self.ask(f"{name} {given[0] if isinstance(given[0], int) else Path(given[0]).name}")
            return real(*given, **named)

        return asked

    def _save_file(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Tensors are written by safetensors itself, which says in its own way that it could not."""

        def save(tensors: Any, path: Path) -> None:
            try:
                self.ask(f"save_file {path.name}")
            except OSError as error:
                real(tensors, path)
                os.truncate(path, path.stat().st_size // 2)
                words = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
                raise SafetensorError(words) from None
            real(tensors, path)

        return save


class _Refusing(io.FileIO):
    def __init__(self, disk: FailingDisk, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._disk, self._path = disk, path

    def write(self, data: Any, /) -> int:
        try:
            self._disk.ask(f"write {self._path.name}")
        except (OSError, Killed):
            if self._disk.half and len(self._disk.asked) == self._disk.refuse:
                super().write(bytes(data)[: len(data) // 2])
            raise
        return super().write(data)


def _below(file: Any, root: Path) -> bool:
    return isinstance(file, str | os.PathLike) and Path(file).absolute().is_relative_to(root)


def write_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Let the thread that writes a checkpoint finish before training goes on, so that requests have one order.

    What it could not do is still told where it would be told otherwise: by the next look at the writer.
    """
    begin = CheckpointWriter.begin

    def begun(writer: CheckpointWriter, *given: Any, **named: Any) -> None:
        begin(writer, *given, **named)
        for thread in threading.enumerate():
            if thread.name == "checkpoint":
                thread.join()

    patch.setattr(CheckpointWriter, "begin", begun)
