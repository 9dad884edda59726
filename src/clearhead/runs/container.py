"""Many files in one: a zip of stored members that ends with the SHA-256 of all before it.

Zip, because every system opens it and it knows neither links nor devices that would have to be made; stored, because
weights hardly compress and what is not compressed cannot unfold into more than is there. A zip has bits that nothing
checks, such as times; the digest, which is its comment, checks them all. It is no signature: names and sizes are a
stranger's until they have been looked at.
"""

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from clearhead.errors import CheckpointError, StorageError
from clearhead.files import flush, storing

ENDING = b"clearhead run; SHA-256 of all bytes before this digest: "
_DIGITS = 64
_PIECE = 1 << 20
_BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member: the same run makes the same archive."""
_MOST_DIRECTORY = 1 << 20
"""Bytes of the zip's list of members, which is read whole: a run has a few dozen."""
_UTF8_NAME = 0x800
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_NOT_ZIP = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)
"""What zipfile raises at bytes that are none, beside OSError."""


class Writer:
    """Puts files into an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files = 0

    def add(self, name: str, content: bytes | Path) -> str:
        """Add a member, from memory or from a file in pieces; returns the SHA-256 of what went in."""
        info = zipfile.ZipInfo(name, _BEGINNING_OF_TIME)
        info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
        info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
        digest = hashlib.sha256()
        source = BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        with source, self._archive.open(info, "w") as member:
            while piece := source.read(_PIECE):
                digest.update(piece)
                member.write(piece)
        self.files += 1
        return digest.hexdigest()


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """An archive that appears whole when the block ends well, or not at all; an existing file is never replaced."""
    if target.exists():
        raise StorageError(f"{target} exists; delete it, or name another file with --to")
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
                archive.comment = ENDING + b"0" * _DIGITS
                yield Writer(archive)
            with aside.open("r+b") as file:
                digest = _digest_before_end(file, aside.stat().st_size)
                file.write(digest)
            flush(aside)
            aside.rename(target)
            flush(target.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


class Reader:
    """The members of an archive, none of which is more than it says, twice there, or anything but a plain file."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, size: int) -> None:
        self._archive, self._path, self._left = archive, path, size
        members = archive.infolist()
        for info in members:
            self._check(info)
        self.names = [info.filename for info in members]
        if len({name.casefold() for name in self.names}) < len(self.names):  # one file where case does not count
            raise CheckpointError(f"{path} holds two files of one name; do not use it")
        self.size = sum(info.file_size for info in members)
        """Bytes of all members together: less than the archive has."""
        if self.size > size:
            raise CheckpointError(f"{path} claims to hold more than it does; do not use it")

    def _check(self, info: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        plain = info.orig_filename == info.filename and kind in (0, stat.S_IFREG)
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not plain or not stored or info.flag_bits & ~_UTF8_NAME:
            raise CheckpointError(f"{self._path} holds {info.orig_filename!r}, which is no plain file; do not use it")

    def extract(self, name: str, target: Path) -> None:
        """Write a member into a new file; CheckpointError where it is not what the archive says."""
        try:
            with self._archive.open(name) as member, target.open("xb") as file:
                while piece := member.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise ValueError("more bytes than the archive has")
                    file.write(piece)
        except _NOT_ZIP as error:
            raise CheckpointError(f"{self._path} is damaged at {name!r} ({error}); copy it again") from None


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """An archive whose every bit is as it was written; CheckpointError where it is not, in one line."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not there or no file; make an archive with: clearhead runs export RUN")
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
    with file:
        size = path.stat().st_size
        _check_ending(file, path, size)
        try:
            archive = zipfile.ZipFile(file)
        except (*_NOT_ZIP, OSError) as error:
            raise CheckpointError(f"{path} is no archive of a run ({error}); copy it again") from None
        with archive:
            yield Reader(archive, path, size)


def _check_ending(file: BinaryIO, path: Path, size: int) -> None:
    """CheckpointError unless the file ends with its own digest, behind a list of members of a sensible size."""
    comment = len(ENDING) + _DIGITS
    end = size - comment - struct.calcsize("<4s4H2LH")
    file.seek(max(0, size - comment))
    if end < 0 or not file.read(comment).startswith(ENDING):
        raise CheckpointError(
            f"{path} is cut short, or no archive of a run; copy it again, or make one with: clearhead runs export RUN"
        )
    digest = _digest_before_end(file, size)
    if file.read() != digest:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one that it ends with; copy it again")
    if _directory_size(file, end) > _MOST_DIRECTORY:
        raise CheckpointError(f"{path} lists more files than a run has; do not use it")


def _digest_before_end(file: BinaryIO, size: int) -> bytes:
    """SHA-256, as hex digits, of all but the last 64 bytes; the file then stands before these."""
    file.seek(0)
    sha, left = hashlib.sha256(), size - _DIGITS
    while left > 0 and (piece := file.read(min(_PIECE, left))):
        sha.update(piece)
        left -= len(piece)
    return sha.hexdigest().encode()


def _directory_size(file: BinaryIO, end: int) -> int:
    """Bytes of the zip's list of members, from the record at `end`, or for large archives from the one before it."""
    before = min(end, 76)
    file.seek(end - before)
    large, record = file.read(before), file.read(22)
    if large[-20:].startswith(_LOCATOR64):
        return int.from_bytes(large[40:48], "little") if large.startswith(_END64) else _MOST_DIRECTORY + 1
    return int.from_bytes(record[12:16], "little") if record.startswith(_END) else _MOST_DIRECTORY + 1
