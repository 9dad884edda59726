"""Which documents of a text of any size validate and decide: those that `split` would choose, without sorting them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearhead.config import (
    DEV_FRACTION,
    MIN_SPLIT_CHARACTERS,
    MOST_DEV_CHARACTERS,
    MOST_VAL_CHARACTERS,
    VAL_FRACTION,
)

Places = npt.NDArray[np.uint64]
"""(n,) places of documents: the first eight bytes of the hashes that `corpus.rank` gives."""
Lengths = npt.NDArray[np.int64]
Documents = Callable[[], Iterable[tuple[Places, Lengths]]]
"""Gives all documents anew, some at a time: their places and characters."""

SPLITS = ("train", "dev", "val")

_BIN_BITS = 16
_BINS = 1 << _BIN_BITS


@dataclass(frozen=True)
class Deal:
    """Documents whose place is below `val_end` validate, those from there below `dev_end` are dev."""

    val_end: int
    dev_end: int
    kept: frozenset[int]
    """Places below these ends whose documents (or copies, together) are too large a part: they are trained on."""

    def splits(self, places: Places) -> npt.NDArray[np.int64]:
        """(n,) the number among `SPLITS` of the split of each place."""
        found = np.where(_from(places, self.val_end), SPLITS.index("dev"), SPLITS.index("val"))
        kept = np.isin(places, np.array(sorted(self.kept), dtype=np.uint64))
        return np.where(kept | _from(places, self.dev_end), SPLITS.index("train"), found)


def deal(documents: Documents, characters: int) -> Deal:
    """Deal out the documents of a text of so many characters in all.

    The same are held back that `corpus.split` holds back: the first ones in the order of their places, until they make
    up the share; what is larger than the whole share stays in training. Memory is bounded: the places are divided into
    65,536 bins, and only the bins where it is decided are sorted. Documents that do not take part (those of more than
    a block) count as characters, and stay in training: here `split` can differ.
    """
    share = min(VAL_FRACTION * characters, MOST_VAL_CHARACTERS)
    val_end, kept, held = _hold(documents, share, 0)
    share = min(DEV_FRACTION * (characters - held), MOST_DEV_CHARACTERS)
    dev_end, kept_from_dev, _ = _hold(documents, share, val_end)
    return Deal(val_end, dev_end, kept | kept_from_dev)


def place_of_rank(rank: bytes) -> int:
    """The place that a document's whole hash begins with."""
    return int.from_bytes(rank[:8], "big")


def _hold(documents: Documents, share: float, begin: int) -> tuple[int, frozenset[int], int]:
    """(end, kept, characters): the places begin .. end hold documents that make up the share, but for those kept."""
    end, kept, characters = begin, set[int](), 0
    weights = _weights(documents, begin)
    for number in np.flatnonzero(weights).tolist():
        if characters >= share:
            break
        if weights[number] < share - characters:  # then no document in it is larger than the share
            end, characters = (number + 1) << (64 - _BIN_BITS), characters + int(weights[number])
            continue
        for place, size in _bin(documents, number, begin):
            if characters < share and size <= share:
                end, characters = place + 1, characters + size
            elif characters < share:
                kept.add(place)
    if characters < MIN_SPLIT_CHARACTERS:
        return begin, frozenset(), 0
    return end, frozenset(place for place in kept if place < end), characters


def _weights(documents: Documents, begin: int) -> npt.NDArray[np.int64]:
    """(bins,) characters of the documents in each bin, of those from a place on."""
    weights = np.zeros(_BINS, dtype=np.int64)
    for places, lengths in documents():
        later = _from(places, begin)
        np.add.at(weights, (places[later] >> np.uint64(64 - _BIN_BITS)).astype(np.int64), lengths[later])
    return weights


def _bin(documents: Documents, number: int, begin: int) -> list[tuple[int, int]]:
    """(place, characters of all copies) of each document in a bin, in order."""
    found = [
        (places[inside], lengths[inside])
        for places, lengths in documents()
        for inside in [((places >> np.uint64(64 - _BIN_BITS)) == number) & _from(places, begin)]
        if inside.any()
    ]
    places, which = np.unique(np.concatenate([places for places, _ in found]), return_inverse=True)
    sizes = np.zeros(len(places), dtype=np.int64)
    np.add.at(sizes, which, np.concatenate([lengths for _, lengths in found]))
    return list(zip(places.tolist(), sizes.tolist(), strict=True))


def _from(places: Places, begin: int) -> npt.NDArray[np.bool_]:
    """Which places are `begin` or behind it; it may be behind all."""
    return np.zeros(len(places), dtype=bool) if begin >= 1 << 64 else places >= np.uint64(begin)
