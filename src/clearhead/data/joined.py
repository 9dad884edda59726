"""Token ids that lie in several files, used as one array."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clearhead.errors import CorpusError
from clearhead.tokenizers.base import Ids

MOST_AT_ONCE = 1 << 26
"""Ids that may be asked for in one array: what needs more must go through the text in pieces."""


class JoinedIds:
    """(n,) ids of several arrays, one behind the other, mapped and not loaded.

    >>> ids = JoinedIds([np.array([7, 4]), np.array([], dtype=np.int64), np.array([1, 2, 3])])
    >>> len(ids), int(ids[2]), ids[1:4].tolist(), ids[np.array([[0, 4], [2, 1]])].tolist()
    (5, 1, [4, 1, 2], [[7, 3], [1, 4]])

    Slices and index arrays give arrays; CorpusError where one would hold more than `MOST_AT_ONCE` ids.
    """

    ndim = 1

    def __init__(self, arrays: Sequence[Ids]) -> None:
        self._arrays = [array for array in arrays if len(array)] or list(arrays[:1])
        self._ends = np.cumsum([len(array) for array in self._arrays])
        self._starts = self._ends - [len(array) for array in self._arrays]
        self.dtype = self._arrays[0].dtype
        self.size = int(self._ends[-1])
        self.shape = (self.size,)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, slice):
            return self._slice(*where.indices(self.size))
        index = np.asarray(where)
        if index.ndim == 0:
            return self._gather(index.reshape(1))[0]
        return self._gather(index.reshape(-1)).reshape(index.shape)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def astype(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """All ids as one array of a type."""
        return self[:].astype(dtype)

    def rows(self, starts: npt.NDArray[Any], length: int) -> Ids:
        """(B, length) the ids from each of B places on; a tenth of the time that as many single places take."""
        return np.stack([self._slice(start, start + length, 1) for start in starts.tolist()])

    def min(self) -> int:
        """The least id."""
        return min(int(piece.min()) for piece in self.pieces(MOST_AT_ONCE))

    def max(self) -> int:
        """The greatest id."""
        return max(int(piece.max()) for piece in self.pieces(MOST_AT_ONCE))

    def pieces(self, most: int) -> Iterator[Ids]:
        """The ids in order, in arrays of at most `most`, none of which crosses a file."""
        for array in self._arrays:
            for start in range(0, len(array), most):
                yield array[start : start + most]

    def _slice(self, start: int, stop: int, step: int) -> Ids:
        if step != 1:
            return self[np.arange(start, stop, step)]
        stop = max(start, stop)
        self._refuse(stop - start)
        first = int(np.searchsorted(self._ends, start, side="right"))
        parts = []
        for array, begins in zip(self._arrays[first:], self._starts[first:].tolist(), strict=True):
            if begins >= stop:
                break
            parts.append(array[max(0, start - begins) : stop - begins])
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=self.dtype)

    def _gather(self, index: npt.NDArray[Any]) -> Ids:
        """(n,) ids at the places of index (n,), which may count from the end."""
        self._refuse(len(index))
        index = np.where(index < 0, index + self.size, index)
        if len(index) and not (index.min() >= 0 and index.max() < self.size):
            raise IndexError(f"index out of range of {self.size} ids")
        which = np.searchsorted(self._ends, index, side="right")
        found = np.empty(len(index), dtype=self.dtype)
        for number in np.unique(which):
            here = which == number
            found[here] = self._arrays[number][index[here] - self._starts[number]]
        return found

    def _refuse(self, count: int) -> None:
        if count > MOST_AT_ONCE:
            raise CorpusError(
                f"this wants {count:,} tokens in memory at once, and a prepared folder gives {MOST_AT_ONCE:,} at most; "
                "prepare a part of the text for it"
            )
