"""The second look at a text of any size: blocks become a shard of training ids, and what is held back waits aside."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from clearhead.data.manifest import TOKENIZER, Shard
from clearhead.data.parts import Reading, changed, read_block
from clearhead.data.scanning import read_arrays, read_scan, write_arrays
from clearhead.data.segments import ByDocument, ByPosition, Segment
from clearhead.data.shard_file import ShardFile, encoded
from clearhead.data.spans import Block
from clearhead.files import write_atomic
from clearhead.tokenizers.base import Ids, Tokenizer, load_tokenizer

HELD = ("dev", "val")


@dataclass(frozen=True)
class Held:
    """A segment that is held back, with its ids."""

    segment: Segment
    ids: Ids
    hidden: int


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
    """Write a shard, what is held back, and last the record; CorpusError where the text has changed since the scan."""
    tokenizer = _tokenizer(task.work / TOKENIZER)
    held: list[Held] = []
    with ShardFile(task.folder, "train", task.number, tokenizer, separated=task.separated) as file:
        if task.number == 0:
            file.lead()
        for segments in _segments(task):
            ids, hidden = encoded(tokenizer, segments)
            rows = list(zip(segments, ids, hidden, strict=True))
            held += (Held(*row) for row in rows if row[0].split in HELD)
            trained = [row for row in rows if row[0].split not in HELD]
            file.add([row[0] for row in trained], [row[1] for row in trained], sum(row[2] for row in trained))
        shard = file.finish()
    _write_held(task.held, held)
    write_atomic(task.record, json.dumps(asdict(shard)))


def read_held(path: Path) -> Iterator[Held]:
    """What `encode` held back, in order."""
    told = read_arrays(path)
    text, ids = told["text"].tobytes(), told["ids"]
    starts = {"text": 0, "ids": 0}
    for split, begins, ends, hidden, text_end, ids_end in told["rows"].tolist():
        piece = text[starts["text"] : text_end].decode("utf-8", "surrogatepass")
        segment = Segment(HELD[split], piece, bool(begins), bool(ends))
        yield Held(segment, ids[starts["ids"] : ids_end], hidden)
        starts = {"text": text_end, "ids": ids_end}


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


def _write_held(path: Path, held: Sequence[Held]) -> None:
    texts = [each.segment.text.encode("utf-8", "surrogatepass") for each in held]
    ends = zip(np.cumsum([len(text) for text in texts]), np.cumsum([len(each.ids) for each in held]), strict=True)
    rows = [
        (HELD.index(each.segment.split), each.segment.begins, each.segment.ends, each.hidden, *where)
        for each, where in zip(held, ends, strict=True)
    ]
    write_arrays(
        path,
        {
            "rows": np.array(rows, dtype=np.int64).reshape(-1, 6),
            "text": np.frombuffer(b"".join(texts), dtype=np.uint8),
            "ids": np.concatenate([np.empty(0, dtype=np.uint16), *(each.ids for each in held)]),
        },
    )


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    return load_tokenizer(path)
