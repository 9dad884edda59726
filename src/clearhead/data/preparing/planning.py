"""From what was seen of a text to what each shard will be made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead.data.preparing.dealing import Lengths, Places, deal
from clearhead.data.preparing.encoding import EncodeTask
from clearhead.data.preparing.parts import Reading
from clearhead.data.preparing.scanning import Scan, ScanTask, read_scan
from clearhead.data.preparing.segments import ByDocument, ByPosition, cuts
from clearhead.data.preparing.spans import Block


@dataclass(frozen=True)
class Plan:
    """How a text will be divided."""

    tasks: tuple[EncodeTask, ...]
    documents: int
    characters: int
    splitter: ByPosition | ByDocument
    """As it is before the first task."""

    @property
    def separated(self) -> bool:
        """Whether end-of-text stands between documents."""
        return self.documents > 1

    def scans(self) -> Iterator[Scan]:
        """What was seen, task by task."""
        return (read_scan(task.scan) for task in self.tasks)


def plan(folder: Path, scans: Sequence[ScanTask], reading: Reading, *, by_document: bool) -> Plan:
    """Divide a text: many documents are dealt out, each of a few is cut by position. See `corpus.split`."""
    documents, characters = 0, 0
    lengths: list[int] = []
    for seen in (read_scan(task.target) for task in scans):
        documents, characters = documents + int(seen.begins.sum()), characters + int(seen.lengths.sum())
        if not by_document:
            _add_lengths(lengths, seen)

    def dealt() -> Iterator[tuple[Places, Lengths]]:
        return (read_scan(task.target).dealt for task in scans)

    first = ByDocument(deal(dealt, characters)) if by_document else ByPosition(cuts(lengths))
    tasks = tuple(_tasks(folder, scans, reading, first, separated=documents > 1))
    return Plan(tasks, documents, characters, first)


def _add_lengths(lengths: list[int], seen: Scan) -> None:
    for length, begins in zip(seen.lengths.tolist(), seen.begins.tolist(), strict=True):
        if begins:
            lengths.append(0)
        lengths[-1] += length


def _tasks(
    folder: Path, scans: Sequence[ScanTask], reading: Reading, splitter: ByPosition | ByDocument, *, separated: bool
) -> Iterator[EncodeTask]:
    for number, task in enumerate(scans):
        yield EncodeTask(number, folder, task.target.parent, task.blocks, reading, splitter, separated, task.source)
        if isinstance(splitter, ByPosition):
            splitter = ByPosition(splitter.cuts, splitter.document, splitter.offset)
            seen = read_scan(task.target)
            for length, begins in zip(seen.lengths.tolist(), seen.begins.tolist(), strict=True):
                splitter.pass_by(length, begins)


def grouped(blocks: Sequence[Block], most: int) -> Iterator[tuple[Block, ...]]:
    """Blocks of about `most` bytes together, at least one: no tokenizer here makes more tokens than bytes."""
    group: list[Block] = []
    for block in blocks:
        if group and bytes_of([*group, block]) > most:
            yield tuple(group)
            group = []
        group.append(block)
    if group:
        yield tuple(group)


def bytes_of(blocks: Sequence[Block]) -> int:
    """Bytes of some blocks."""
    return sum(span.stop - span.start for block in blocks for span in block)
