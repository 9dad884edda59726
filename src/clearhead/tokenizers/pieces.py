"""Where a text falls apart into words, numbers, punctuation, line ends and other white space."""

import re
import unicodedata
from collections.abc import Iterator

_WINDOW = 1 << 20
"""Characters cut at a time, so that a large text never lies in memory as millions of strings."""

_MARKS = "".join(
    chr(c) for c in (*range(0x300, 0x2000), *range(0xA66F, 0xAC00)) if unicodedata.category(chr(c)) in "MnMc"
)
"""Accents and vowel signs that Python's \\w leaves out: without them words of Hindi or Thai fall apart."""

_LETTERS = rf"[^\W\d_]+(?:[{_MARKS}\u200c\u200d]+[^\W\d_]*)*"
_PIECE = re.compile(
    rf" ?{_LETTERS}(?:['’]{_LETTERS})*"  # a word with the space before it, apostrophes inside
    r"| ?\d+"
    r"| ?(?:[^\w\s]|_)"  # one mark of punctuation, or a symbol
    r"|\r\n|\n|\r"
    r"|[^\S\r\n]+?(?= \S)"  # other white space leaves the last space to the word
    r"|[^\S\r\n]+"
)


def pieces(text: str) -> Iterator[list[str]]:
    """The pieces of a text, in batches; joined they are the text.

    >>> [batch for batch in pieces("I don't  love 2 dogs.\\n")]
    [['I', " don't", ' ', ' love', ' 2', ' dogs', '.', '\\n']]
    """
    start, size = 0, _WINDOW
    while start < len(text):
        found = _PIECE.findall(text, start, start + size)
        if start + size < len(text):
            if len(found) <= 2:
                size *= 2
                continue
            del found[-2:]  # may go on beyond the window: "don", "'" | "t"
        yield found
        start, size = start + sum(map(len, found)), _WINDOW
