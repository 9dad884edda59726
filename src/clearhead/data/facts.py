"""What is odd about a text, before anybody trains on it."""

import zlib
from collections.abc import Iterator, Sequence

TINY = 10_000
"""Characters below which a model learns a text by heart."""
LONG_LINE = 10_000
"""Characters in one line beyond which line ends were probably lost."""
REPETITIVE = 0.15
"""Compressed size over size; prose is near 0.4, source code near 0.25."""

_SAMPLES, _SAMPLE = 16, 1 << 15


def text_warnings(documents: Sequence[str]) -> list[str]:
    """One line for each oddity: tiny, repetitive, doubled documents, one giant line, mixed line ends.

    >>> text_warnings(["a\\nb\\r\\n"])[1]
    'mixed line ends (1 LF, 1 CRLF): ids for both are learned'
    """
    checks = (_tiny, _repetitive, _doubled, _giant_line, _mixed_line_ends)
    return [line for check in checks for line in check(documents)]


def _tiny(documents: Sequence[str]) -> Iterator[str]:
    if (characters := sum(map(len, documents))) < TINY:
        yield f"only {characters:,} characters: a model will learn them by heart"


def _repetitive(documents: Sequence[str]) -> Iterator[str]:
    sample = _sample(documents[0] if len(documents) == 1 else "\n".join(documents[:: 1 + len(documents) // 5_000]))
    ratio = len(zlib.compress(sample)) / len(sample)
    if len(sample) >= 1_000 and ratio < REPETITIVE:
        yield f"repetitive: it compresses to {ratio:.0%} of its size, and a low loss will mean little"


def _doubled(documents: Sequence[str]) -> Iterator[str]:
    if (doubled := len(documents) - len(set(documents))) > len(documents) / 2:
        yield f"{doubled:,} of {len(documents):,} documents are copies of others"


def _giant_line(documents: Sequence[str]) -> Iterator[str]:
    for document in documents:
        if len(document) > LONG_LINE and "\n" not in document and "\r" not in document:
            yield f"one giant line of {len(document):,} characters: were its line ends lost?"
            return


def _mixed_line_ends(documents: Sequence[str]) -> Iterator[str]:
    crlf = sum(document.count("\r\n") for document in documents)
    counts = {
        "LF": sum(document.count("\n") for document in documents) - crlf,
        "CRLF": crlf,
        "CR": sum(document.count("\r") for document in documents) - crlf,
    }
    if len(present := [f"{count:,} {kind}" for kind, count in counts.items() if count]) > 1:
        yield f"mixed line ends ({', '.join(present)}): ids for both are learned"


def _sample(text: str) -> bytes:
    """UTF-8 bytes of pieces from all over a text."""
    step = max(_SAMPLE, len(text) // _SAMPLES)
    return b"".join(text[i : i + _SAMPLE].encode("utf-8", "replace") for i in range(0, len(text), step))
