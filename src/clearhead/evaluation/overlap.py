"""What of a short text stands verbatim in a long one, in one pass over the long one.

Windows are named, not hashed, so the answer is exact (after Karp, Miller and Rosenberg 1972, "Rapid identification
of repeated patterns"): a window of n characters is known by the names of its first and its last a characters, a being
a power of two and a <= n <= 2 a. Only windows of the short text have a name, every other is 0. So memory depends on
the short text, and the long one passes by in pieces.

Shapes: m codes of the short texts, b codes of a piece of the long one, K names of a length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]
"""Code points of a text."""
Names = npt.NDArray[np.int32]
"""Names of the windows of one length by where they begin; 0 is none of the short text's."""

GAP = 0xFFFD
"""U+FFFD stands for no text (a separator, an unknown token, a broken character): no window covers it."""
LENGTHS = (1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 48, 64)
"""Characters of the windows whose share is told."""

_LARGEST_TABLE = 1 << 22
"""Pairs of names that are looked up in a table; more are searched for in sorted keys."""
_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Overlap:
    """What of one text stands in another."""

    characters: int
    longest: int
    """Characters of the longest passage that stands in both."""
    passage: str
    offset: int | None
    """Characters of the other text before the passage; None when not one character is shared."""
    passages: dict[int, int]
    """Length -> windows of that many characters; lengths that the text has any of."""
    novel: dict[int, float]
    """Length -> the share of these that is nowhere in the other text."""

    def shared(self, size: int) -> float:
        """The share of the windows of a length that the other text has; 0 when there are none."""
        return 1 - self.novel.get(size, 1.0)


def codes_of(text: str) -> Codes:
    """The code points (len(text),) of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32, copy=False)


def overlaps(texts: Sequence[Codes], long: Iterable[Codes], lengths: Sequence[int] = LENGTHS) -> list[Overlap]:
    """What of each text stands in the long one, which comes in pieces of any size and is read once.

    >>> [found] = overlaps([codes_of("to be or")], [codes_of("not to b"), codes_of("e")], [1, 6])
    >>> found.longest, found.passage, found.offset, found.novel[6]
    (5, 'to be', 4, 1.0)
    """
    search = _Search(texts, lengths)
    for piece in long:
        search.read(piece)
    return [_overlap(search, number, text) for number, text in enumerate(texts)]


def _overlap(search: "_Search", number: int, text: Codes) -> Overlap:
    longest, passage, offset = search.found[number]
    levels = [search.windows.levels[size] for size in search.lengths]
    found = {level.size: met for level in levels if len(met := level.met(number))}
    passages = {size: len(met) for size, met in found.items()}
    novel = {size: float((~met).mean()) for size, met in found.items()}
    return Overlap(int((text != GAP).sum()), longest, passage, offset, passages, novel)


class _Level:
    """The windows of one length in the short texts, by name."""

    def __init__(self, size: int, names: Names, keys: npt.NDArray[np.int64], base: int, texts: Sequence[slice]) -> None:
        self.size, self.names, self.keys, self.base = size, names, keys, base
        self.found = np.zeros(len(keys) + 1, dtype=bool)
        self._texts = texts

    @cached_property
    def of(self) -> list[npt.NDArray[np.bool_]]:
        """For each text, which names (K + 1,) its windows have."""
        masks = [np.zeros(len(self.keys) + 1, dtype=bool) for _ in self._texts]
        for mask, text in zip(masks, self._texts, strict=True):
            mask[self.names[text]] = True
            mask[0] = False
        return masks

    @cached_property
    def _table(self) -> Names | None:
        if self.base**2 > _LARGEST_TABLE:
            return None
        table = np.zeros(self.base**2, dtype=np.int32)
        table[self.keys] = np.arange(1, len(self.keys) + 1)
        return table

    def look_up(self, part: "_Found") -> "_Found":
        """Where windows of this length are, and which, by where their first and last parts are."""
        shift = self.size - part.size
        windows = max(0, len(part.names) - shift)
        whole = np.searchsorted(part.at, windows)
        at, first = part.at[:whole], part.which[:whole]
        last = part.names[at + shift]
        both = last > 0
        at, keys = at[both], first[both].astype(np.int64) * self.base + last[both]
        if self._table is not None:
            names = self._table[keys]
            known = names > 0
        else:
            place = np.searchsorted(self.keys, keys)
            place[place == len(self.keys)] = 0
            known = self.keys[place] == keys
            names = (place + 1).astype(np.int32)
        return _Found(self.size, at[known], names[known], windows)

    def met(self, text: int) -> npt.NDArray[np.bool_]:
        """For each window of a text, whether it was found."""
        names = self.names[self._texts[text]]
        return self.found[names[names > 0]]


class _Windows:
    """All windows of the short texts, named length by length."""

    def __init__(self, texts: Sequence[Codes], lengths: Sequence[int]) -> None:
        gap = np.array([GAP], dtype=np.uint32)
        codes = np.concatenate([gap, *(part for text in texts for part in (text, gap))])  # (m,)
        ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
        self.texts = [slice(end - len(text), end) for end, text in zip(ends, texts, strict=True)]
        self.longest = int(np.diff(np.flatnonzero(codes == GAP)).max(initial=1)) - 1
        letters = np.setdiff1d(codes, gap)
        self._letters = np.zeros(_CODE_POINTS, dtype=np.int32)
        self._letters[letters] = np.arange(1, len(letters) + 1)
        self.levels = {1: _Level(1, self.letters(codes), letters.astype(np.int64), 0, self.texts)}
        powers = {1 << power for power in range(self.longest.bit_length())}
        for size in sorted(powers | set(lengths)):
            if 1 < size <= self.longest:
                self.levels[size] = self.level(size)

    def letters(self, codes: Codes) -> Names:
        """The names of single characters."""
        return self._letters[codes]

    def level(self, size: int) -> _Level:
        """The windows of a length, named anew."""
        part = self.levels[_part(size)]
        base, shift = len(part.keys) + 1, size - part.size
        first, last = part.names[:-shift], part.names[shift:]
        at = np.flatnonzero((first > 0) & (last > 0))
        keys, inverse = np.unique(first[at].astype(np.int64) * base + last[at], return_inverse=True)
        names = np.zeros(len(first), dtype=np.int32)
        names[at] = inverse + 1
        return _Level(size, names, keys, base, self.texts)


class _Found:
    """Windows of one length that a piece of the long text has in common with the short ones."""

    def __init__(self, size: int, at: npt.NDArray[np.intp], which: Names, windows: int) -> None:
        self.size, self.at, self.which, self._windows = size, at, which, windows

    @cached_property
    def names(self) -> Names:
        """The name of every window of the piece, 0 where it has none."""
        names = np.zeros(self._windows, dtype=np.int32)
        names[self.at] = self.which
        return names


class _Piece:
    """A piece of the long text, and what has been found in it."""

    def __init__(self, windows: _Windows, codes: Codes) -> None:
        self.codes = codes
        letters = windows.letters(codes)
        at = np.flatnonzero(letters)
        self._found = {1: _Found(1, at, letters[at], len(codes))}

    def find(self, level: _Level) -> _Found:
        """The windows of a length; `level`s of smaller powers of two have been asked for before."""
        if level.size not in self._found:
            self._found[level.size] = level.look_up(self._found[_part(level.size)])
        return self._found[level.size]

    def first(self, level: _Level, text: int) -> int | None:
        """Where the first window of a length begins that a text has too."""
        found = self.find(level)
        hit = level.of[text][found.which]
        return int(found.at[hit.argmax()]) if hit.any() else None


class _Search:
    """Reads the long text, and remembers which windows it has met and the longest of each text."""

    def __init__(self, texts: Sequence[Codes], lengths: Sequence[int]) -> None:
        self.windows = _Windows(texts, lengths)
        self.lengths = [size for size in lengths if size in self.windows.levels]
        self.found: list[tuple[int, str, int | None]] = [(0, "", None)] * len(texts)
        self._probes: dict[int, _Level] = {}
        self._tail, self._start = np.empty(0, dtype=np.uint32), 0

    def read(self, codes: Codes) -> None:
        """Go on with the next piece; windows may begin in the one before."""
        piece = _Piece(self.windows, np.concatenate([self._tail, codes]))
        beyond = self._note(piece)
        for text in range(len(self.found)):
            self._extend(text, piece, beyond)
        next_sizes = {longest + 1 for longest, *_ in self.found}
        self._probes = {size: level for size, level in self._probes.items() if size in next_sizes}
        keep = min(len(piece.codes), max(0, self.windows.longest - 1))
        self._start += len(piece.codes) - keep
        self._tail = piece.codes[len(piece.codes) - keep :]

    def _note(self, piece: _Piece) -> int:
        """Note the windows of every length that are in a piece; return a length that none of them has."""
        for size, level in self.windows.levels.items():
            found = piece.find(level)
            level.found[found.which] = True
            if not len(found.at) and size & (size - 1) == 0:
                return size
        return self.windows.longest + 1

    def _extend(self, text: int, piece: _Piece, beyond: int) -> None:
        """Look for a passage of a text longer than all before, by bisection between what is there and what is not."""
        size = self.found[text][0] + 1
        if size >= beyond or (at := piece.first(self._level(size), text)) is None:
            return
        while beyond - size > 1:
            middle = (size + beyond) // 2
            if (further := piece.first(self._level(middle), text)) is None:
                beyond = middle
            else:
                size, at = middle, further
        self.found[text] = (size, _text_of(piece.codes[at : at + size]), self._start + at)

    def _level(self, size: int) -> _Level:
        """The windows of a length: all texts share what one of them has asked for."""
        if size in self.windows.levels:
            return self.windows.levels[size]
        if size not in self._probes:
            self._probes[size] = self.windows.level(size)
        return self._probes[size]


def _part(size: int) -> int:
    """The largest power of two below a length."""
    return 1 << (size - 1).bit_length() - 1


def _text_of(codes: Codes) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
