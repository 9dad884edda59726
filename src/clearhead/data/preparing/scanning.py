"""The first look at a text of any size: its documents, their places when they are dealt out, its characters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clearhead.data.corpus import rank
from clearhead.data.preparing.dealing import Lengths, Places, place_of_rank
from clearhead.data.preparing.parts import Part, Reading, read_block
from clearhead.data.preparing.spans import Block
from clearhead.errors import CorpusError
from clearhead.files import write_atomic

UNICODE = 0x110000
_CHUNK = 1 << 18
_LAST_PLACE = (1 << 64) - 1
_CODE_POINTS = "<u4"
_COLUMNS = {"lengths": np.int64, "begins": np.bool_, "ends": np.bool_, "places": np.uint64}


@dataclass(frozen=True, eq=False)
class Scan:
    """What was seen in some blocks; m documents and parts of documents, k distinct characters."""

    digests: npt.NDArray[np.uint8]
    """(blocks, 32) SHA-256 of their bytes."""
    lengths: Lengths
    """(m,) characters."""
    begins: npt.NDArray[np.bool_]
    """(m,) whether the document begins here."""
    ends: npt.NDArray[np.bool_]
    """(m,) whether it ends here."""
    places: Places
    """(m,) where whole documents stand when they are dealt out; 0 where none are."""
    characters: npt.NDArray[np.uint32]
    """(k,) code points, ascending; empty where they are not asked for."""
    greatest: Places
    """(k,) the greatest place of a document that has the character; the last of all where a part of one has it."""

    @property
    def dealt(self) -> tuple[Places, Lengths]:
        """Places and characters of the whole documents."""
        whole = self.begins & self.ends
        return self.places[whole], self.lengths[whole]

    @property
    def text(self) -> str:
        """The distinct characters."""
        return self.characters.astype(_CODE_POINTS).tobytes().decode("utf-32-le", "surrogatepass")


@dataclass(frozen=True)
class ScanTask:
    """Blocks to look at, and where to write what was seen."""

    target: Path
    blocks: tuple[Block, ...]
    reading: Reading
    by_document: bool
    """Whether whole documents will be dealt out."""
    characters: bool
    """Whether characters are asked for."""
    source: int = 0


def scan(task: ScanTask) -> None:
    """Look at blocks and write what was seen; CorpusError where they hold no text."""
    digests, seen = [], np.zeros(UNICODE, dtype=bool)
    greatest = np.zeros(UNICODE, dtype=np.uint64)
    columns: list[tuple[npt.NDArray[Any], ...]] = [tuple(np.empty(0, dtype=kind) for kind in _COLUMNS.values())]
    for block in task.blocks:
        found, digest = read_block(block, task.reading)
        digests.append(np.frombuffer(digest, dtype=np.uint8))
        places = [_place(part) if task.by_document else 0 for part in found]
        rows = ([len(p.text) for p in found], [p.begins for p in found], [p.ends for p in found], places)
        columns.append(tuple(np.array(row, dtype=kind) for row, kind in zip(rows, _COLUMNS.values(), strict=True)))
        if task.characters and task.by_document:
            _note_places(found, places, seen, greatest)
        elif task.characters:
            for codes in (codes for part in found for codes in _code_points(part.text)):
                seen[codes] = True
    characters = np.flatnonzero(seen)
    told = {
        "digests": np.array(digests, dtype=np.uint8).reshape(-1, 32),
        **{name: np.concatenate(parts) for name, parts in zip(_COLUMNS, zip(*columns, strict=True), strict=True)},
        "characters": characters.astype(np.uint32),
        "greatest": greatest[characters],
    }
    write_arrays(task.target, told)


def read_scan(path: Path) -> Scan:
    """What `scan` wrote."""
    return Scan(**read_arrays(path))


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Arrays by name in one file, whole or not there."""
    write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of such a file; CorpusError where it is damaged."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); delete the folder, and prepare the text again") from None


def _place(part: Part) -> int:
    return place_of_rank(rank(part.text)) if part.whole else _LAST_PLACE


def _note_places(parts: Sequence[Part], places: Sequence[int], seen: npt.NDArray[np.bool_], greatest: Places) -> None:
    """Mark the characters of a block, and note for each the greatest place of a part that has it.

    The texts are laid out in the order of their places; an array that is assigned to at the same index several times
    keeps the last value.
    """
    order = np.argsort(np.array(places, dtype=np.uint64), kind="stable")
    ends = np.cumsum([len(parts[i].text) for i in order])
    last = np.zeros(UNICODE, dtype=np.int64)  # 1 + the last position, 0 for none
    start = 1
    for codes in _code_points("".join(parts[i].text for i in order)):
        last[codes] = np.arange(start, start + len(codes))
        start += len(codes)
    characters = np.flatnonzero(last)
    seen[characters] = True
    found = np.array(places, dtype=np.uint64)[order][np.searchsorted(ends, last[characters])]
    greatest[characters] = np.maximum(greatest[characters], found)


def _code_points(text: str) -> Iterator[npt.NDArray[np.uint32]]:
    """Those of a text, a part at a time that stays in the processor's cache."""
    for start in range(0, len(text), _CHUNK):
        yield np.frombuffer(text[start : start + _CHUNK].encode("utf-32-le", "surrogatepass"), dtype=_CODE_POINTS)
