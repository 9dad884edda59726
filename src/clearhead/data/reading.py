"""From the bytes of one file to its documents."""

import gzip
import json
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from clearhead.config import DataConfig
from clearhead.errors import CorpusError

STDIN = "-"

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def read_documents(path: Path, config: DataConfig) -> list[str]:
    """The documents of one file, which may be gzipped; the file "-" is standard input.

    JSON Lines (by the name) hold one document per line, other files one document, or one per line with
    `config.lines`. Empty documents are left out. CorpusError says why a file is no text, and where.
    """
    if str(path) == STDIN:
        name, data = "standard input", _read_stdin()
    else:
        name, data = repr(str(path)), _read_file(path)
    text = _decode(_unzip(data, name), name, config)
    del data  # a large text should not lie in memory twice
    if path.name.lower().removesuffix(".gz").endswith(".jsonl"):
        return list(_json_lines(text, name, config))
    documents = _lines(text) if config.lines else [text]
    return [document for document in documents if document]


def _read_file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        for is_kind, kind in _KINDS:
            if is_kind(mode):
                raise CorpusError(f"{str(path)!r} is {kind}, not a file; pipe its text in and give '-' as the corpus")
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{str(path)!r} cannot be read ({error.strerror or error}); check its permissions") from None


def _read_stdin() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except (OSError, ValueError, AttributeError) as error:
        raise CorpusError(f"standard input cannot be read ({error}); give a file instead of '-'") from None


def _unzip(data: bytes, name: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{name} is broken gzip ({error}); copy or compress it again") from None


def _decode(data: bytes, name: str, config: DataConfig) -> str:
    """Text of UTF-8 bytes, the byte order mark dropped, line ends kept. Offsets in errors are the file's."""
    if data.startswith(_UTF16):
        raise CorpusError(f"{name} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    if (offset := data.find(b"\0")) >= 0:
        raise CorpusError(f"{name} has a NUL byte at offset {offset}: a binary file? give a text file in UTF-8")
    start = len(_BOM) if data.startswith(_BOM) else 0
    try:
        return str(memoryview(data)[start:], "utf-8", config.errors)
    except UnicodeDecodeError as error:
        offset = start + error.start
        raise CorpusError(
            f"{name} is not UTF-8: byte 0x{data[offset]:02X} at offset {offset}; "
            "convert the file, or add --errors replace"
        ) from None


def _lines(text: str) -> list[str]:
    """The lines of a text without their ends. Unlike `splitlines`, form feeds and the like end no line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _json_lines(text: str, name: str, config: DataConfig) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), start=1):
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
