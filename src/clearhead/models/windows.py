"""The distinct windows of a text, and how often each occurs: the raw material of n-gram counts.

A window is a position with the tokens that follow it, cut behind the next end-of-text, packed into one int64:
digits in base V + 1, token + 1 each, 0 where the window is cut. Sorted windows hold the n-grams of every shorter
length as their prefixes, so one pass over the text serves many orders. Where the digits wanted do not fit into 63
bits, a pass counts as many as do, and the next begins with the rank of what they spelled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]


class Stream(Protocol):
    """Ids in a row, of which pieces can be had: an array, or what lies in several files."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Ids: ...


Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Table = tuple[Int64, Int32]
"""Ascending keys (n,) and how often each occurs (n,)."""

EMPTY: Table = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Windows:
    """The windows of the stream `ids` (N,): the rank of their first `depth` tokens, then digits."""

    ids: Stream
    vocab_size: int
    eot_id: int | None
    depth: int = 0
    shorter: "Windows | None" = None
    """The windows that spell the first `depth` tokens; None at depth 0."""
    spelled: Int64 = field(default_factory=lambda: EMPTY[0])
    """(contexts,) those of them, ascending, that spell an n-gram of length `depth`; its rank is its place here."""
    held: Int32 = field(default_factory=lambda: EMPTY[1])
    """(N,) the rank of the n-gram of length `depth` that begins at each position, -1 for none; empty for a long text,
    where they are found anew for each piece."""

    @property
    def contexts(self) -> int:
        """How many different n-grams of length `depth` there are."""
        return 1 if self.shorter is None else len(self.spelled)

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

    def codes(self, start: int, size: int, width: int) -> Int64:
        """The windows of `width` digits that begin in start .. start + size; negative where none begins."""
        stop = min(start + size, len(self.ids))
        size = stop - start
        piece = self.ids[start + self.depth : stop + self.depth + width - 1]
        digits = np.zeros(size + width - 1, dtype=np.int64)
        digits[: len(piece)] = piece
        digits[: len(piece)] += 1
        code = self.ranks(start, size)
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

    def count(self, start: int, size: int, width: int) -> Table:
        """The distinct windows that begin in start .. start + size, and how often each does."""
        codes = self.codes(start, size, width)
        codes.sort()
        return _runs(codes[np.searchsorted(codes, 0) :])

    def ranks(self, start: int, size: int) -> Int64:
        """The ranks of the n-grams of length `depth` that begin at `size` positions, -1 for none."""
        if self.shorter is None:
            return np.zeros(size, dtype=np.int64)
        if len(self.held):
            return self.held[start : start + size].astype(np.int64)
        return find(self.spelled, self.shorter.codes(start, size, self.depth - self.shorter.depth))

    def _unfinished(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Whether anything can follow the first `depth` tokens: not when the last of them ends the document."""
        going = np.ones(stop - start, dtype=bool)
        if self.depth > 1 and self.eot_id is not None:
            last = self.ids[start + self.depth - 1 : stop + self.depth - 1]
            going[: len(last)] = last != self.eot_id
        return going


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


def split_windows(table: Table, width: int, windows: Windows, before: Sequence[int]) -> Iterator[Table]:
    """The n-grams that windows spell, longest first: depth + width tokens, then one less, down to depth + 1.

    The key of an n-gram is the rank of all but its last token among their like, times V, plus the last token. Of
    those of d digits `before[d]` have lower ranks than these. The table is used up.
    """
    base = windows.base
    for digits in range(width, 0, -1):
        codes, counts = table
        table, first = shortened(table, base)
        ranks = table[0] if digits == 1 else np.cumsum(table[0] % base != 0, dtype=np.int64) + (before[digits - 1] - 1)
        parents = ranks.repeat(np.diff(first, append=len(codes)))
        parents *= windows.vocab_size
        codes %= base
        whole = codes != 0
        codes += parents
        codes -= 1
        del parents
        yield codes[whole], counts[whole]


def firsts(ascending: Int64) -> Int64:
    """Where each new value of an ascending array begins."""
    new = np.ones(len(ascending), dtype=bool)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return np.flatnonzero(new)


def _runs(ascending: Int64) -> Table:
    """The distinct values of an ascending array and how often each stands there."""
    first = firsts(ascending)
    return ascending[first], np.diff(first, append=len(ascending)).astype(np.int32)


def joined(table: Table, other: Table) -> Table:
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


def shortened(table: Table, base: int) -> tuple[Table, Int64]:
    """The table of windows without their last digit, and where in the old table each new window begins."""
    codes = table[0] // base
    first = firsts(codes)
    counts = np.add.reduceat(table[1], first, dtype=np.int32) if len(first) else table[1][:0]
    return (codes[first], counts), first
