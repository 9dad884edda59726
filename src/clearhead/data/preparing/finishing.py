"""The last step of preparing: what was held back becomes the shards of dev and val."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from clearhead.data.corpus import NO_DEV, NO_VAL, digest, sha256_of_digests
from clearhead.data.manifest import Shard
from clearhead.data.preparing.encoding import EncodeTask
from clearhead.data.preparing.holding import Held, Rows
from clearhead.data.preparing.planning import Plan
from clearhead.data.preparing.scanning import read_arrays
from clearhead.data.preparing.segments import ByDocument
from clearhead.data.preparing.shard_file import ShardFile
from clearhead.errors import CorpusError
from clearhead.tokenizers.base import Tokenizer

_AT_ONCE = 10_000
"""Segments written together."""


@dataclass(frozen=True)
class Finished:
    """The shards of a folder, and what is said of its text."""

    shards: tuple[Shard, ...]
    val_sha256: str
    notices: tuple[str, ...]


def finish(folder: Path, plan: Plan, tokenizer: Tokenizer) -> Finished:
    """Write the shards of dev and val: documents that were dealt out in the order of their hashes, as in `split`."""
    held = _held(plan.tasks)
    dev, val = (list(_written(folder, split, held, tokenizer, plan)) for split in ("dev", "val"))
    validated = (each for rows in held.values() for each in rows.some("val", sort=_sorted(plan)))
    return Finished(
        shards=(*_training(folder, plan.tasks), *dev, *val),
        val_sha256=_sha256(validated) if val else "",
        notices=(*([] if val else [NO_VAL]), *([] if dev else [NO_DEV])),
    )


def _held(tasks: Sequence[EncodeTask]) -> dict[int, Rows]:
    """What is held back of each source."""
    return {
        source: Rows.joined([Rows(**read_arrays(task.held)) for task in tasks if task.source == source])
        for source in dict.fromkeys(task.source for task in tasks)
    }


def _sorted(plan: Plan) -> bool:
    return isinstance(plan.splitter, ByDocument)


def _written(folder: Path, split: str, held: dict[int, Rows], tokenizer: Tokenizer, plan: Plan) -> Iterator[Shard]:
    """The shards of a split, one for each source that has any of it."""
    number = 0
    for source, rows in held.items():
        if any(True for _ in rows.some(split, sort=False)):
            shard = _write(folder, split, number, rows.some(split, sort=_sorted(plan)), tokenizer, plan)
            yield replace(shard, source=source)
            number += 1


def _training(folder: Path, tasks: Sequence[EncodeTask]) -> Iterator[Shard]:
    """The finished shards of training text, but for empty ones, all of whose text is held back."""
    for task in tasks:
        shard = task.finished()
        if shard is None:
            raise CorpusError(f"shard {task.number} of {folder} is gone; run the same command again")
        if shard.tokens:
            yield shard


def _write(folder: Path, split: str, number: int, held: Iterator[Held], tokenizer: Tokenizer, plan: Plan) -> Shard:
    with ShardFile(folder, split, number, tokenizer, separated=plan.separated) as file:
        if number == 0:
            file.lead()
        while some := list(islice(held, _AT_ONCE)):
            file.add([each.segment for each in some], [each.ids for each in some], sum(each.hidden for each in some))
        return file.finish()


def _sha256(held: Iterable[Held]) -> str:
    """As `corpus.text_sha256` of the documents that the segments make up."""
    digests: list[bytes] = []
    text: list[str] = []
    for each in held:
        text.append(each.segment.text)
        if each.segment.ends:
            digests.append(digest("".join(text)))
            text.clear()
    return sha256_of_digests(digests)
