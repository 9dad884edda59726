"""Counting windows in ranges: threads look at a piece of the text each, then at a range of the table each.

A range holds all windows that begin alike, so what windows spell is the sum of what those of each range do. The
result does not depend on the threads: counts are sums, and tables ascend.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np

from clearhead.models.windows import EMPTY, Int64, Table, Windows, firsts, joined, shortened, split_windows

CHUNK = 1 << 21
"""Positions that all threads together look at in one go: bounds the memory that counting needs beside its tables."""
RANGES = 64
"""Ranges of a table, at most."""
HELD = 1 << 25
"""Positions of a text whose ranks are held while longer n-grams are counted: 128 MB."""
LEAST = 1 << 16
"""Windows that gather before a range is put together anew."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew:
    """Threads that do the same to many items side by side; results come in the order of the items."""

    def __init__(self, size: int, pool: ThreadPoolExecutor | None) -> None:
        self.size = size
        self._map = map if pool is None else pool.map

    @classmethod
    @contextmanager
    def of(cls, size: int | None = None) -> "Iterator[Crew]":
        """As many threads as there are cores for this process, or as are asked for."""
        size = size or cores()
        if size == 1:
            yield cls(1, None)
            return
        with ThreadPoolExecutor(size) as pool:
            yield cls(size, pool)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Work on every item."""
        return list(self._map(work, items))


@dataclass
class Range:
    """The windows of one range of codes: a table, and what was found since it was put together."""

    table: Table
    fresh: Table = EMPTY

    def add(self, found: Iterable[Table]) -> None:
        """Take in what pieces of the text hold of this range."""
        for table in found:
            self.fresh = joined(self.fresh, table)
        # The large table waits until an eighth of it has gathered: that keeps the work near linear.
        if len(self.fresh[0]) > max(LEAST, len(self.table[0]) // 8):
            self.settle()

    def settle(self) -> None:
        """Put together all that was found."""
        self.table, self.fresh = joined(self.table, self.fresh), EMPTY

    def shorten(self, base: int) -> None:
        """Take the last digit off every window."""
        self.settle()
        self.table = shortened(self.table, base)[0]

    def spelled(self, width: int, base: int) -> list[int]:
        """How many n-grams of 0 .. width digits the windows of the table spell."""
        found, codes = [], self.table[0]
        for _ in range(width):
            found.append(int(np.count_nonzero(codes % base)))
            codes = codes // base
            codes = codes[firsts(codes)]
        return [0, *reversed(found)]


class Tally:
    """A growing table of the windows of a text, of as many digits as there is room for."""

    def __init__(self, windows: Windows, width: int, room: int, crew: Crew) -> None:
        self.windows, self.width, self._room, self._crew = windows, width, room, crew
        self._least = 1 if windows.depth == 0 else 0
        self._edges = EMPTY[0]
        self.ranges = [Range(_tokens(windows, width))]
        self._checked = 0

    def __len__(self) -> int:
        return sum(len(part.table[0]) for part in self.ranges)

    def add(self, found: list[Table]) -> None:
        """Take in the windows of some pieces of the text, and cut all where they have become too many."""
        if len(self.ranges) == 1 and len(found[0][0]) > LEAST:
            self._divide(found[0][0])
        parts = [_divided(table, self._edges) for table in found]
        self._crew.each(lambda pair: pair[0].add(pair[1]), zip(self.ranges, zip(*parts, strict=True), strict=True))
        if len(self) > self._checked + self._checked // 8:
            self._cut()

    def finish(self) -> None:
        """Put together what is still waiting."""
        self._crew.each(Range.settle, self.ranges)
        self._cut()

    def deeper(self) -> Windows:
        """The windows behind the n-grams that all digits spell."""
        windows, base = self.windows, self.windows.base
        spelled = np.concatenate([codes[codes % base != 0] for codes in (part.table[0] for part in self.ranges)])
        deeper = replace(windows, depth=windows.depth + self.width, shorter=windows, spelled=spelled, held=EMPTY[1])
        if len(windows.ids) > HELD:
            return deeper
        held, size = np.empty(len(windows.ids), dtype=np.int32), max(1, CHUNK // self._crew.size)

        def hold(start: int) -> None:
            piece = held[start : start + size]
            piece[:] = deeper.ranks(start, len(piece))

        self._crew.each(hold, range(0, len(held), size))
        return replace(deeper, held=held)

    def split(self) -> list[Table]:
        """The n-grams that the windows spell, shortest first: see `split_windows`. The table is used up."""
        each = self._spelled()  # (ranges, 1 + width)
        before = np.cumsum(each, axis=0) - each
        tables = [(np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int32)) for n in each.sum(axis=0).tolist()]

        def fill(number: int) -> None:
            part, places = self.ranges[number], before[number].tolist()
            table, part.table = part.table, EMPTY
            for digits, (keys, counts) in zip(
                range(self.width, 0, -1), split_windows(table, self.width, self.windows, places), strict=True
            ):
                here = slice(places[digits], places[digits] + len(keys))
                tables[digits][0][here], tables[digits][1][here] = keys, counts

        self._crew.each(fill, range(len(self.ranges)))
        return tables[1:]

    def _spelled(self) -> Int64:
        """(ranges, 1 + width) how many n-grams of 0 .. width digits each range spells."""
        found = self._crew.each(lambda part: part.spelled(self.width, self.windows.base), self.ranges)
        return np.array(found, dtype=np.int64)

    def _cut(self) -> None:
        """Take digits off until what the windows spell is no more than there is room for."""
        while self.width > self._least and len(self) * self.width > self._room:
            if self._spelled().sum() <= self._room:
                break
            self._crew.each(lambda part: part.shorten(self.windows.base), self.ranges)
            self._edges //= self.windows.base
            self.width -= 1
        self._checked = len(self)

    def _divide(self, codes: Int64) -> None:
        """Divide the table, where it is one, into ranges that hold about as many of these windows each."""
        unit = self.windows.base ** (self.width - self._least)
        wanted = codes[np.arange(1, RANGES) * len(codes) // RANGES]
        self._edges = np.unique(wanted // unit * unit)
        self.ranges = [Range(table) for table in _divided(self.ranges[0].table, self._edges)]


def count_windows(windows: Windows, width: int, room: int, crew: Crew) -> Tally:
    """All distinct windows with their counts, of fewer digits than asked where the n-grams that they spell would be
    more than `room`: down to no digit at all, at depth 0 to one.

    At depth 0 every token of the vocabulary has a window cut behind it, seen or not (then with count 0).
    """
    tally = Tally(windows, width, room, crew)
    size = max(1, CHUNK // crew.size)
    for start in range(0, len(windows.ids), size * crew.size):
        starts = range(start, min(start + size * crew.size, len(windows.ids)), size)
        tally.add(crew.each(lambda at: windows.count(at, size, tally.width), starts))
        if tally.width == 0:
            break
    tally.finish()
    return tally


def _tokens(windows: Windows, width: int) -> Table:
    """A window of each token of the vocabulary, cut behind it; only where windows begin with a token."""
    tokens = np.arange(1, windows.base if windows.depth == 0 else 1, dtype=np.int64)
    return tokens * windows.base ** (width - 1), np.zeros(len(tokens), dtype=np.int32)


def _divided(table: Table, edges: Int64) -> list[Table]:
    """The parts of a table before, between and behind edges."""
    keys, counts = table
    ends = [0, *np.searchsorted(keys, edges).tolist(), len(keys)]
    return [(keys[begin:end], counts[begin:end]) for begin, end in pairwise(ends)]
