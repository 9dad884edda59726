"""Texts of any size as blocks of a few megabytes: which bytes of which files, cut where nothing is torn."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import BinaryIO, Literal

from clearhead.config import DataConfig
from clearhead.data.reading import is_json_lines, unreadable

BLOCK = 1 << 23
"""Bytes of a block, about."""
LINES_BLOCK = 1 << 21
"""The same of a file with a document a line: every one of these costs memory besides its text."""

_LINE_START = re.compile(
    rb"\n(?![\s\x1c-\x1f]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
)
"""A line end and no white space after it, in UTF-8."""
_WORD_END = re.compile(rb"[0-9A-Za-z](?=[ \t\n\r])")
_LINE_END = re.compile(rb"[\n\r]")
_NEWLINE = re.compile(rb"\n")
_CHARACTER = re.compile(rb"(?s).(?![\x80-\xbf])")
_WINDOWS = (1 << 16, 1 << 20)
"""Bytes searched for a place to cut a text in."""


@dataclass(frozen=True)
class TextFile:
    """A file of text, as large as it was when it was looked at."""

    path: str
    kind: Literal["text", "lines", "json"]
    """One document; one a line; one JSON object a line."""
    size: int
    field: str = "text"
    """Of JSON: what holds the text."""

    @classmethod
    def of(cls, path: str, config: DataConfig, name: str | None = None) -> "TextFile":
        """A file that is there; its name (or the one that it had before it was unpacked) says whether it is JSON."""
        try:
            size = Path(path).stat().st_size
        except OSError as error:
            raise unreadable(Path(path), error) from None
        json = is_json_lines(name or path)
        return cls(path, "json" if json else "lines" if config.lines else "text", size, config.text_field)


@dataclass(frozen=True)
class Span:
    """Bytes start .. stop of a file."""

    file: TextFile
    start: int
    stop: int


Block = tuple[Span, ...]
"""Whole small files one after the other, or a part of a large one."""


def blocks(files: Iterable[TextFile], size: int = BLOCK) -> Iterator[Block]:
    """All of the files, in order, in blocks of about `size` bytes; empty files are in none.

    A text is cut where a line begins with what is no white space; where there is none for a megabyte, behind a word
    (a letter or digit of ASCII), and where that is not to be had either, between two characters. Every tokenizer here
    ends a token at the first two, so the ids of the parts are those of the whole. Files of documents are cut between
    lines.
    """
    gathered: list[Span] = []
    room = size
    for file in files:
        if gathered and (file.size > room or file.kind == "lines"):
            yield tuple(gathered)
            gathered, room = [], size
        if file.size > (most := min(size, LINES_BLOCK) if file.kind == "lines" else size):
            yield from ((span,) for span in _parts(file, most))
        elif file.size:
            gathered.append(Span(file, 0, file.size))
            room -= file.size
    if gathered:
        yield tuple(gathered)


def _parts(file: TextFile, size: int) -> Iterator[Span]:
    try:
        with Path(file.path).open("rb") as opened:
            start = 0
            while start < file.size:
                stop = _cut(opened, file, start + size)
                yield Span(file, start, stop)
                start = stop
    except OSError as error:
        raise unreadable(Path(file.path), error) from None


def _cut(opened: BinaryIO, file: TextFile, at: int) -> int:
    """The first place from `at` on where a file can be cut, at most its end."""
    if at >= file.size:
        return file.size
    if file.kind != "text":
        return _line_end(opened, file, at)
    read = b""
    for pattern, window in product((_LINE_START, _WORD_END), _WINDOWS):
        opened.seek(at)
        found = pattern.search(read := opened.read(window))
        if found and found.end() + 3 <= len(read):  # what stands at the end of a window may go on behind it
            return at + found.end()
    if len(read) < _WINDOWS[-1]:
        return file.size
    found = _CHARACTER.search(read)
    return at + (found.end() if found else len(read))


def _line_end(opened: BinaryIO, file: TextFile, at: int) -> int:
    pattern = _NEWLINE if file.kind == "json" else _LINE_END
    while True:
        opened.seek(at)
        read = opened.read(_WINDOWS[-1])
        if found := pattern.search(read):
            return at + found.end()
        if not read:
            return file.size
        at += len(read)
