"""The distinct windows of a text, and how often each occurs: the raw material of n-gram counts.

A window is a position with the tokens that follow it, cut behind the next end-of-text, packed into one int64:
digits in base V + 1, token + 1 each, 0 where the window is cut. Sorted windows hold the n-grams of every shorter
length as their prefixes, so one pass over the text serves many orders. Where the digits wanted do not fit into 63
bits, a pass counts as many as do, and the next begins with the rank of what they spelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Table = tuple[Int64, Int32]
"""Ascending keys (n,) and how often each occurs (n,)."""

_EMPTY: Table = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)

CHUNK = 1 << 21
"""Positions looked at in one go: bounds the memory that counting needs beside its tables."""


@dataclass(frozen=True)
class Windows:
    """The windows of the stream `ids` (N,): the rank of their first `depth` tokens, then digits."""

    ids: Ids
    vocab_size: int
    eot_id: int | None
    depth: int = 0
    contexts: int = 1
    """How many different n-grams of length `depth` there are."""
    ranks: Int32 | None = None
    """(N,) the rank of the n-gram of length `depth` that begins at each position, -1 for none; None at depth 0."""

    @property
    def base(self) -> int:
        """Values of a digit."""
        return self.vocab_size + 1

    @property
    def most_digits(self) -> int:
        """How many digits fit behind a rank in 63 bits.

        >>> Windows(np.zeros(0, dtype=np.uint16), 65, None).most_digits
        10
        """
        width = 1
        while max(1, int(self.contexts)) * int(self.base) ** (width + 1) < 1 << 63:  # Python ints do not overflow
            width += 1
        return width

    def codes(self, start: int, width: int) -> Int64:
        """The windows of `width` digits that begin in start .. start + CHUNK; negative where none begins."""
        stop = min(start + CHUNK, len(self.ids))
        size = stop - start
        piece = self.ids[start + self.depth : stop + self.depth + width - 1]
        digits = np.zeros(size + width - 1, dtype=np.int64)
        digits[: len(piece)] = piece
        digits[: len(piece)] += 1
        code = np.zeros(size, dtype=np.int64) if self.ranks is None else self.ranks[start:stop].astype(np.int64)
        going = self._unfinished(start, stop)
        for j in range(width):
            digit = digits[j : j + size]
            code *= self.base
            if self.eot_id is None:
                code += digit
                continue
            np.add(code, digit, out=code, where=going)
            if self.depth + j > 0:  # as the first token, end-of-text begins a document; later it ends one
                going &= digit != self.eot_id + 1
        return code

    def _unfinished(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Whether anything can follow the first `depth` tokens: not when the last of them ends the document."""
        going = np.ones(stop - start, dtype=bool)
        if self.depth > 1 and self.eot_id is not None:
            last = self.ids[start + self.depth - 1 : stop + self.depth - 1]
            going[: len(last)] = last != self.eot_id
        return going

    def deeper(self, codes: Int64, width: int) -> "Windows":
        """The windows behind the n-grams that `width` digits spell; `codes` are the distinct windows of that width."""
        spelled = codes[codes % self.base != 0]
        ranks = np.empty(len(self.ids), dtype=np.int32)
        for start in range(0, len(self.ids), CHUNK):
            ranks[start : start + CHUNK] = find(spelled, self.codes(start, width))
        return Windows(self.ids, self.vocab_size, self.eot_id, self.depth + width, len(spelled), ranks)


def find(ascending: Int64, wanted: Int64) -> Int64:
    """Where each wanted value stands in an ascending array, -1 where it is not there.

    >>> find(np.array([2, 3, 5]), np.array([5, 4, 2])).tolist()
    [2, -1, 0]
    """
    if not len(ascending):
        return np.full(wanted.shape, -1, dtype=np.int64)
    at = np.searchsorted(ascending, wanted)
    at[at == len(ascending)] = 0
    return np.where(ascending[at] == wanted, at, -1)


def count_windows(windows: Windows, width: int, room: int) -> tuple[Table, int]:
    """All distinct windows with their counts, and their width: less than asked where the n-grams that they spell
    would be more than `room`, down to no digit at all, at depth 0 to one.

    At depth 0 every token of the vocabulary has a window cut behind it, seen or not (then with count 0).
    """
    least = 1 if windows.depth == 0 else 0
    tokens = np.arange(1, windows.base if windows.depth == 0 else 1, dtype=np.int64)
    table = tokens * windows.base ** (width - 1), np.zeros(len(tokens), dtype=np.int32)
    fresh = _EMPTY
    for start in range(0, len(windows.ids), CHUNK):
        codes = windows.codes(start, width)
        codes.sort()
        fresh = _joined(fresh, _runs(codes[np.searchsorted(codes, 0) :]))
        # The large table waits until an eighth of it has gathered: that keeps the work near linear.
        if start + CHUNK >= len(windows.ids) or len(fresh[0]) > max(CHUNK, len(table[0]) // 8):
            table, fresh = _joined(table, fresh), _EMPTY
            while width > least and _spelled(table[0], width, windows.base) > room:
                table, width = _shortened(table, windows.base)[0], width - 1
            if width == 0:
                break
    return table, width


def split_windows(table: Table, width: int, windows: Windows) -> Iterator[Table]:
    """The n-grams that windows spell, longest first: depth + width tokens, then one less, down to depth + 1.

    The key of an n-gram is the rank of all but its last token among their like, times V, plus the last token.
    The table is used up.
    """
    base = windows.base
    for digits in range(width, 0, -1):
        codes, counts = table
        table, first = _shortened(table, base)
        ranks = table[0] if digits == 1 else np.cumsum(table[0] % base != 0, dtype=np.int64) - 1
        parents = ranks.repeat(np.diff(first, append=len(codes)))
        parents *= windows.vocab_size
        codes %= base
        whole = codes != 0
        codes += parents
        codes -= 1
        del parents
        yield codes[whole], counts[whole]


def _firsts(ascending: Int64) -> Int64:
    """Where each new value of an ascending array begins."""
    new = np.ones(len(ascending), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return np.flatnonzero(new)


def _runs(ascending: Int64) -> Table:
    """The distinct values of an ascending array and how often each stands there."""
    first = _firsts(ascending)
    return ascending[first], np.diff(first, append=len(ascending)).astype(np.int32)


def _joined(table: Table, other: Table) -> Table:
    """One table of two: counts add up, new keys are put in between (no sort, and little memory beside the result)."""
    keys, counts = table
    at = np.searchsorted(keys, other[0])
    known = at < len(keys)
    known[known] = keys[at[known]] == other[0][known]
    counts[at[known]] += other[1][known]
    new = ~known
    places = at[new] + np.arange(np.count_nonzero(new))
    old = np.ones(len(keys) + len(places), dtype=bool)
    old[places] = False
    return _filled(old, keys, other[0][new]), _filled(old, counts, other[1][new])


def _filled(where: npt.NDArray[np.bool_], values: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values where the mask is true, the others elsewhere, both in order."""
    result = np.empty(len(where), dtype=values.dtype)
    result[where] = values
    result[~where] = others
    return result


def _shortened(table: Table, base: int) -> tuple[Table, Int64]:
    """The table of windows without their last digit, and where in the old table each new window begins."""
    codes = table[0] // base
    first = _firsts(codes)
    counts = np.add.reduceat(table[1], first, dtype=np.int32) if len(first) else table[1][:0]
    return (codes[first], counts), first


def _spelled(codes: Int64, width: int, base: int) -> int:
    """How many n-grams, over all lengths, windows spell."""
    total = 0
    for _ in range(width):
        total += int(np.count_nonzero(codes % base))
        codes = codes // base
        codes = codes[_firsts(codes)]
    return total
