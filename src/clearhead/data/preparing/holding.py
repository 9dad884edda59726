"""What is held back while a text is encoded: segments with their ids, as a few arrays and not as a million objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from clearhead.data.corpus import rank
from clearhead.data.preparing.dealing import place_of_rank
from clearhead.data.preparing.segments import Segment
from clearhead.tokenizers.base import Ids

HELD = ("dev", "val")


@dataclass(frozen=True, slots=True)
class Held:
    """A segment that is held back, with its ids and how many of its characters they hide."""

    segment: Segment
    ids: Ids
    hidden: int


@dataclass(frozen=True, eq=False)
class Rows:
    """n segments that are held back."""

    table: npt.NDArray[np.int64]
    """(n, 6): the split's number, whether its document begins and ends here, hidden characters, bytes, ids."""
    places: npt.NDArray[np.uint64]
    """(n,) by the hash of the text: where whole documents that were dealt out stand."""
    text: npt.NDArray[np.uint8]
    """The texts in UTF-8, one behind the other."""
    ids: Ids
    """The ids, alike."""

    @classmethod
    def of(cls, held: Sequence[Held]) -> Self:
        """Some segments."""
        texts = [each.segment.text.encode("utf-8", "surrogatepass") for each in held]
        table = [
            (HELD.index(s.split), s.begins, s.ends, each.hidden, len(text), len(each.ids))
            for each, text in zip(held, texts, strict=True)
            for s in [each.segment]
        ]
        return cls(
            np.array(table, dtype=np.int64).reshape(-1, 6),
            np.array([place_of_rank(rank(each.segment.text)) for each in held], dtype=np.uint64),
            np.frombuffer(b"".join(texts), dtype=np.uint8),
            np.concatenate([np.empty(0, dtype=np.uint16), *(each.ids for each in held)]),
        )

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """All of several, in order; at least one."""
        return cls(*(np.concatenate([vars(rows)[name] for rows in several]) for name in vars(several[0])))

    def some(self, split: str, *, sort: bool) -> Iterator[Held]:
        """The segments of a split, in their order or sorted by their places."""
        ends = {column: np.cumsum(self.table[:, column]) for column in (4, 5)}
        chosen = np.flatnonzero(self.table[:, 0] == HELD.index(split))
        if sort:
            chosen = chosen[np.argsort(self.places[chosen], kind="stable")]
        for number in chosen.tolist():
            _, begins, ends_here, hidden, bytes_, count = self.table[number].tolist()
            text_end, ids_end = int(ends[4][number]), int(ends[5][number])
            text = self.text[text_end - bytes_ : text_end].tobytes().decode("utf-8", "surrogatepass")
            segment = Segment(split, text, bool(begins), bool(ends_here))
            yield Held(segment, self.ids[ids_end - count : ids_end], hidden)
