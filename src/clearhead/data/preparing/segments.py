"""Parts of documents, each in the split that it belongs to."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clearhead.config import (
    DEV_FRACTION,
    MIN_SPLIT_CHARACTERS,
    MOST_DEV_CHARACTERS,
    MOST_VAL_CHARACTERS,
    VAL_FRACTION,
)
from clearhead.data.corpus import held_fraction, place_of
from clearhead.data.preparing.dealing import SPLITS, Deal, Places
from clearhead.data.preparing.parts import Part


class Segment(NamedTuple):
    """Text of one split: a document's, or a part of it."""

    split: str
    text: str
    begins: bool
    """Whether what the split has of the document begins here."""
    ends: bool


@dataclass(frozen=True)
class Cut:
    """Where in a document, in characters, dev begins, validation text begins, and all ends."""

    dev: int
    val: int
    end: int


def cuts(lengths: Sequence[int]) -> list[Cut]:
    """Where each of a few documents is cut: as `corpus.split` does it."""
    vals = _places(lengths, VAL_FRACTION, MOST_VAL_CHARACTERS)
    devs = _places(vals, DEV_FRACTION, MOST_DEV_CHARACTERS)
    return [Cut(*places) for places in zip(devs, vals, lengths, strict=True)]


def _places(lengths: Sequence[int], fraction: float, most: int) -> list[int]:
    """Where the last part of each document begins; at its end when the last parts are too short."""
    fraction = held_fraction(sum(lengths), fraction, most)
    places = [place_of(length, fraction) for length in lengths]
    return places if sum(lengths) - sum(places) >= MIN_SPLIT_CHARACTERS else list(lengths)


@dataclass
class ByPosition:
    """Cuts documents whose parts come in order; begins where the parts before have led to."""

    cuts: Sequence[Cut]
    document: int = -1
    """The number of the document whose part came last."""
    offset: int = 0
    """Characters of it that have come."""

    def segments(self, parts: Iterable[Part], places: Places | None = None) -> Iterator[Segment]:
        """The segments of some parts, in order."""
        for part in parts:
            start = self.pass_by(len(part.text), part.begins)
            cut = self.cuts[self.document]
            for split, low, high in (("train", 0, cut.dev), ("dev", cut.dev, cut.val), ("val", cut.val, cut.end)):
                first, last = max(low, start), min(high, self.offset)
                if first < last:
                    yield Segment(split, part.text[first - start : last - start], first == low, last == high)

    def pass_by(self, characters: int, begins: bool) -> int:
        """Go on behind a part; where in its document it begins."""
        if begins:
            self.document, self.offset = self.document + 1, 0
        self.offset += characters
        return self.offset - characters


@dataclass(frozen=True)
class ByDocument:
    """Deals out whole documents."""

    deal: Deal

    def segments(self, parts: Sequence[Part], places: Places) -> Iterator[Segment]:
        """The segments of a block, in the order of their places: neighbours in a sorted list tell of each other.

        A part of a document that is larger than a block is alone in its block, and is trained on.
        """
        splits = [SPLITS[number] for number in self.deal.splits(places)]
        for number in np.argsort(places, kind="stable").tolist():
            part = parts[number]
            yield Segment(splits[number] if part.whole else "train", part.text, part.begins, part.ends)
