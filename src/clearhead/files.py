"""Files that are whole or not there: written aside, flushed to the disk, then renamed."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from clearhead.errors import ConfigError, StorageError


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """fsync a file, or a folder where the system allows it (Windows does not): it survives a power cut."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_room(target: Path, needed: int) -> None:
    """StorageError when fewer bytes are free than a write needs: better said before than found out in the middle."""
    with suppress(OSError):
        free = shutil.disk_usage(_existing(target)).free
        if free < needed:
            raise StorageError(
                f"cannot write {target}: it needs {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free; make room"
            )


def sweep(folder: Path) -> None:
    """Delete what a killed process was writing into a folder; only for who alone writes there."""
    for aside in folder.glob(".*.tmp"):
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Delete a folder, whole or not at all: what a kill leaves of it is `sweep`'s. StorageError when refused."""
    with storing(path):
        aside = path.with_name(f".{path.name}.tmp")
        path.rename(aside)
        shutil.rmtree(aside)


def _existing(target: Path) -> Path:
    """The target, or the nearest folder above it that exists."""
    return next(path for path in (target, *target.absolute().parents) if path.exists())


@contextmanager
def storing(target: Path) -> Iterator[None]:
    """Turn a refused write into one line that names the target and the free space."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}{_free_space(target)}") from error


def _free_space(target: Path) -> str:
    with suppress(OSError):
        free = shutil.disk_usage(_existing(target)).free
        return f" ({free / 1e6:,.0f} MB free there); make room or choose another folder"
    return "; choose another folder"


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a whole file or leave the old one as it was; StorageError when the disk refuses."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` when the block ends well, and vanishes when it does not."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            flush(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    All files in it are flushed before the rename. Where `path` exists already, the rename fails (StorageError).
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield aside
            for file in aside.rglob("*"):
                flush(file)
            flush(aside)
            aside.chmod(0o755)
            aside.rename(path)
            flush(path.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def check_name(name: str | None) -> None:
    """ConfigError when a run's name is no plain folder name."""
    if name is not None and name != file_name(name):
        raise ConfigError(f"name='{name}' is no plain folder name; try '{file_name(name)}'")


def file_name(text: str) -> str:
    """A text as a folder's name: letters, digits, dot, dash and underscore.

    >>> file_name("python-docs (Python 3.11.7)")
    'python-docs'
    """
    stem = text.split(" (")[0].removesuffix(".gz").removesuffix(".txt")
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:80] or "run"
