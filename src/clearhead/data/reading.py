"""From the bytes of one file to its documents."""

import gzip
import io
import json
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from clearhead.config import DataConfig
from clearhead.errors import CorpusError

STDIN = "-"

LINE = re.compile(r"[^\r\n]+")
"""A line that is not empty, without its end. Unlike with `splitlines`, form feeds and the like end no line."""

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
_MOST_EXPANSION = 100
"""A packed text may be this many times larger unpacked; prose is 3 to 4 times, logs 10 to 30."""
_EXPANDS_FREELY = 1 << 26
"""Unpacked bytes below which its expansion matters to nobody."""
_WIDE = {b"\xff\xfe\0\0": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Byte order marks of what is not UTF-8, the longest first."""
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def read_documents(path: Path, config: DataConfig, name: str | None = None) -> list[str]:
    """The documents of one file, which may be gzipped; the file "-" is standard input.

    JSON Lines (by the name) hold one document per line, other files one document, or one per line with
    `config.lines`. Empty documents are left out. CorpusError says why a file is no text, and where, or that memory
    does not hold it.
    """
    name = "standard input" if str(path) == STDIN else repr(name or str(path))
    try:
        text = _read_text(path, name, config)
        if is_json_lines(path.name):
            return list(json_documents(text, name, config))
        documents = LINE.findall(text) if config.lines else [text]
    except MemoryError:
        raise CorpusError(f"{name} does not fit into this machine's memory; give a part of it") from None
    return [document for document in documents if document]


def is_json_lines(name: str) -> bool:
    """Whether a file's name says that it holds one JSON object per line."""
    return name.lower().removesuffix(".gz").endswith(".jsonl")


def _read_text(path: Path, name: str, config: DataConfig) -> str:
    data = _read_stdin() if str(path) == STDIN else _read_file(path)
    data = _unzip(data, name)  # under the same name: a large text should not lie in memory twice
    return decode_text(data, name, config)


def _read_file(path: Path) -> bytes:
    try:
        refuse_other_kinds(path)
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def refuse_other_kinds(path: Path) -> None:
    """CorpusError for what is no plain file and might never end; OSError where there is nothing."""
    mode = path.stat().st_mode
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            raise CorpusError(f"{str(path)!r} is {kind}, not a file; pipe its text in and give '-' as the corpus")


def unreadable(path: Path, error: OSError) -> CorpusError:
    """What to say of a file that the system does not give."""
    return CorpusError(f"{str(path)!r} cannot be read ({error.strerror or error}); check its permissions")


def _read_stdin() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except (OSError, ValueError, AttributeError) as error:
        raise CorpusError(f"standard input cannot be read ({error}); give a file instead of '-'") from None


def _unzip(data: bytes, name: str) -> bytes | bytearray:
    """The unpacked bytes of gzip, others as they are; a small file that would fill the memory is refused."""
    if not is_gzip(data):
        return data
    unpacked = bytearray()
    for piece in unzipped(io.BytesIO(data), name, len(data)):
        unpacked += piece
    return unpacked


def is_gzip(beginning: bytes) -> bool:
    """Whether bytes begin a file of gzip."""
    return beginning.startswith(_GZIP)


def unzipped(packed: BinaryIO, name: str, size: int) -> Iterator[bytes]:
    """The unpacked bytes of `size` bytes of gzip, in pieces; CorpusError where it is broken, or grows without end."""
    most, total = max(_EXPANDS_FREELY, _MOST_EXPANSION * size), 0
    try:
        with gzip.GzipFile(fileobj=packed) as file:
            while piece := file.read(_PIECE):
                total += len(piece)
                if total > most:
                    raise CorpusError(
                        f"{name} unpacks to more than {_MOST_EXPANSION} times its {size:,} bytes, as no text that "
                        "can be learned from does; unpack it first if it is meant"
                    )
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{name} is broken gzip ({error}); copy or compress it again") from None


def decode_text(data: bytes | bytearray, name: str, config: DataConfig, at: int = 0) -> str:
    """Text of UTF-8 bytes that begin at a place of a file, its byte order mark dropped, line ends kept.

    Offsets in errors are the file's.
    """
    if at == 0 and (wide := next((kind for mark, kind in _WIDE.items() if data.startswith(mark)), None)):
        raise CorpusError(f"{name} is {wide}; convert it: iconv -f {wide} -t UTF-8")
    if (offset := data.find(b"\0")) >= 0:
        raise CorpusError(f"{name} has a NUL byte at offset {at + offset}: a binary file? give a text file in UTF-8")
    start = len(_BOM) if at == 0 and data.startswith(_BOM) else 0
    try:
        return str(memoryview(data)[start:], "utf-8", config.errors)
    except UnicodeDecodeError as error:
        offset = start + error.start
        raise CorpusError(
            f"{name} is not UTF-8: byte 0x{data[offset]:02X} at offset {at + offset}; "
            "convert the file, or add --errors replace"
        ) from None


def _rows(text: str) -> Iterator[str]:
    """What `text.split("\\n")` gives, one at a time."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def json_documents(text: str, name: str, config: DataConfig, first: int = 1) -> Iterator[str]:
    """The documents of JSON Lines that begin with a file's line number `first`; empty ones are left out."""
    for number, line in enumerate(_rows(text), start=first):
        if line.strip():
            document = _json_text(line, f"{name}, line {number}", config)
            if document:
                yield document


def _json_text(line: str, where: str, config: DataConfig) -> str:
    """The text field of one line, checked as the bytes of a file are: JSON can escape what UTF-8 cannot say."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: no JSON ({error}); one object per line is wanted") from None
    if not isinstance(record, dict):
        raise CorpusError(f'{where}: {line[:40]!r} is no object; write {{"{config.text_field}": ...}}')
    document = record.get(config.text_field)
    if not isinstance(document, str):
        fields = ", ".join(map(repr, list(record)[:8])) or "none"
        raise CorpusError(
            f"{where}: no text in field '{config.text_field}' (fields: {fields}); name one with --text_field"
        )
    if "\0" in document:
        raise CorpusError(f"{where}: NUL at offset {document.index(chr(0))} of the text; remove it")
    return _without_surrogates(document, where, config)


def _without_surrogates(text: str, where: str, config: DataConfig) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if config.errors == "replace":
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        raise CorpusError(
            f"{where}: lone surrogate U+{ord(text[error.start]):04X} at offset {error.start} of the text; "
            "remove it, or add --errors replace"
        ) from None
    return text
