"""From the bytes of a block to documents and parts of documents."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clearhead.config import DataConfig
from clearhead.data.preparing.spans import Block, Span
from clearhead.data.reading import LINE, decode_text, json_documents, unreadable
from clearhead.errors import CorpusError


@dataclass(frozen=True)
class Reading:
    """How bytes become documents."""

    data: DataConfig
    lowercase: bool = False


class Part(NamedTuple):
    """A document, or what a block holds of one."""

    text: str
    begins: bool = True
    ends: bool = True

    @property
    def whole(self) -> bool:
        """Whether it is all of its document."""
        return self.begins and self.ends


def read_block(block: Block, reading: Reading) -> tuple[list[Part], bytes]:
    """The documents of a block in order, empty ones left out, and the SHA-256 of its bytes.

    CorpusError says why a file is no text, and where; or that it has changed its size.
    """
    parts: list[Part] = []
    sha = hashlib.sha256()
    for span in block:
        data = _bytes(span)
        sha.update(data)
        parts += (part for part in _parts(span, data, reading) if part.text)
    return parts, sha.digest()


def _bytes(span: Span) -> bytes:
    path = Path(span.file.path)
    try:
        with path.open("rb") as file:
            file.seek(span.start)
            data = file.read(span.stop - span.start)
            whole = len(data) == span.stop - span.start and path.stat().st_size == span.file.size
    except OSError as error:
        raise unreadable(path, error) from None
    if not whole:
        raise changed(path)
    return data


def changed(path: Path) -> CorpusError:
    """What to say of a text that is not what it was a moment ago."""
    return CorpusError(f"{str(path)!r} has changed while it was being prepared; prepare it again, into another folder")


def _parts(span: Span, data: bytes, reading: Reading) -> Iterator[Part]:
    name = repr(span.file.path)
    text = decode_text(data, name, reading.data, span.start)
    if span.file.kind == "text":
        yield Part(_cased(text, reading), span.start == 0, span.stop == span.file.size)
    elif span.file.kind == "lines":
        yield from (Part(_cased(line, reading)) for line in LINE.findall(text))
    else:
        yield from (Part(_cased(document, reading)) for document in _json(span, text, name, reading))


def _json(span: Span, text: str, name: str, reading: Reading) -> Iterator[str]:
    config = replace(reading.data, text_field=span.file.field)
    try:
        yield from json_documents(text, name, config)
    except CorpusError:
        if span.start == 0:
            raise
        # Now it is worth counting the lines before this part, so that the error names the file's own.
        yield from json_documents(text, name, config, 1 + _newlines(span))


def _newlines(span: Span) -> int:
    """Line ends before a part of a file."""
    count, left = 0, span.start
    with Path(span.file.path).open("rb") as file:
        while left and (read := file.read(min(left, 1 << 20))):
            count, left = count + read.count(b"\n"), left - len(read)
    return count


def _cased(text: str, reading: Reading) -> str:
    return text.lower() if reading.lowercase else text
