"""The second look at a text of any size: blocks become a shard of training ids, and what is held back waits aside."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from clearhead.data.manifest import TOKENIZER, Shard
from clearhead.data.preparing.holding import HELD, Held, Rows
from clearhead.data.preparing.parts import Reading, changed, read_block
from clearhead.data.preparing.scanning import read_scan, write_arrays
from clearhead.data.preparing.segments import ByDocument, ByPosition, Segment
from clearhead.data.preparing.shard_file import ShardFile, encoded
from clearhead.data.preparing.spans import Block
from clearhead.files import write_atomic
from clearhead.tokenizers.base import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class EncodeTask:
    """Blocks that become a shard."""

    number: int
    folder: Path
    work: Path
    """Where scans, the tokenizer, what is held back and the records of finished shards are."""
    blocks: tuple[Block, ...]
    reading: Reading
    splitter: ByPosition | ByDocument
    separated: bool
    source: int = 0

    @property
    def scan(self) -> Path:
        """What was seen in these blocks."""
        return self.work / f"scan-{self.number:05}.safetensors"

    @property
    def held(self) -> Path:
        """What of them is held back."""
        return self.work / f"held-{self.number:05}.safetensors"

    @property
    def record(self) -> Path:
        """Written last: then the shard is finished."""
        return self.work / f"shard-{self.number:05}.json"

    def finished(self) -> Shard | None:
        """The shard, where it was finished before and lies where it should."""
        with suppress(OSError, ValueError, TypeError):
            shard = Shard(**json.loads(self.record.read_text(encoding="utf-8")))
            places = (self.folder / shard.file, self.folder / shard.index, self.held)
            if all(place.is_file() for place in places):
                return shard
        return None


def encode(task: EncodeTask) -> None:
    """Write the shard of a task; CorpusError where the text has changed since the scan."""
    write_shard(task, _segments(task), _tokenizer(task.work / TOKENIZER))


def write_shard(task: EncodeTask, groups: Iterable[list[Segment]], tokenizer: Tokenizer) -> None:
    """Write a shard of segments, what of them is held back, and last the record."""
    held: list[Rows] = []
    with ShardFile(task.folder, "train", task.number, tokenizer, separated=task.separated) as file:
        if task.number == 0:
            file.lead()
        for segments in groups:
            ids, hidden = encoded(tokenizer, segments)
            rows = list(zip(segments, ids, hidden, strict=True))
            held.append(Rows.of([Held(*row) for row in rows if row[0].split in HELD]))
            trained = [row for row in rows if row[0].split not in HELD]
            file.add([row[0] for row in trained], [row[1] for row in trained], sum(row[2] for row in trained))
        shard = replace(file.finish(), source=task.source)
    write_arrays(task.held, vars(Rows.joined(held)))
    write_atomic(task.record, json.dumps(asdict(shard)))


def learned_from(task: EncodeTask) -> Iterator[str]:
    """The text of a task that gradients will see, in order."""
    return (segment.text for segments in _segments(task) for segment in segments if segment.split == "train")


def _segments(task: EncodeTask) -> Iterator[list[Segment]]:
    """The segments of each block; CorpusError where a block is not what was scanned."""
    seen, start = read_scan(task.scan), 0
    splitter = task.splitter
    if isinstance(splitter, ByPosition):
        splitter = ByPosition(splitter.cuts, splitter.document, splitter.offset)  # its own, to be moved
    for number, block in enumerate(task.blocks):
        parts, digest = read_block(block, task.reading)
        if digest != seen.digests[number].tobytes():
            raise changed(Path(block[0].file.path))
        places = seen.places[start : start + len(parts)]
        start += len(parts)
        yield list(splitter.segments(parts, places))


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return load_tokenizer(path)
