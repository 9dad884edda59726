"""The last step of preparing: what was held back becomes the shards of dev and val, and the manifest is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead.data.corpus import NO_DEV, NO_VAL, digest, rank, sha256_of_digests
from clearhead.data.encoding import EncodeTask, Held, read_held
from clearhead.data.manifest import Shard
from clearhead.data.planning import Plan
from clearhead.data.segments import ByDocument
from clearhead.data.shard_file import ShardFile
from clearhead.errors import CorpusError
from clearhead.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Finished:
    """The shards of a folder, and what is said of its text."""

    shards: tuple[Shard, ...]
    val_sha256: str
    notices: tuple[str, ...]


def finish(folder: Path, plan: Plan, tokenizer: Tokenizer) -> Finished:
    """Write the shards of dev and val: documents that were dealt out in the order of their hashes, as in `split`."""
    held = [held for task in plan.tasks for held in read_held(task.held)]
    val = _in_order([each for each in held if each.segment.split == "val"], plan)
    dev = _in_order([each for each in held if each.segment.split == "dev"], plan)
    shards = list(_training(folder, plan.tasks))
    shards += (_write(folder, split, rows, tokenizer, plan) for split, rows in (("dev", dev), ("val", val)) if rows)
    notices = (*([] if val else [NO_VAL]), *([] if dev else [NO_DEV]))
    return Finished(tuple(shards), _sha256(val) if val else "", notices)


def _training(folder: Path, tasks: Sequence[EncodeTask]) -> Iterator[Shard]:
    """The finished shards of training text, but for empty ones, all of whose text is held back."""
    for task in tasks:
        shard = task.finished()
        if shard is None:
            raise CorpusError(f"shard {task.number} of {folder} is gone; run the same command again")
        if shard.tokens:
            yield shard


def _in_order(held: list[Held], plan: Plan) -> list[Held]:
    dealt = isinstance(plan.splitter, ByDocument)
    return sorted(held, key=lambda each: rank(each.segment.text)) if dealt else held


def _write(folder: Path, split: str, held: Sequence[Held], tokenizer: Tokenizer, plan: Plan) -> Shard:
    with ShardFile(folder, split, 0, tokenizer, separated=plan.separated) as file:
        file.lead()
        file.add([each.segment for each in held], [each.ids for each in held], sum(each.hidden for each in held))
        return file.finish()


def _sha256(held: Sequence[Held]) -> str:
    """As `corpus.text_sha256` of the documents that the segments make up."""
    digests: list[bytes] = []
    text: list[str] = []
    for each in held:
        text.append(each.segment.text)
        if each.segment.ends:
            digests.append(digest("".join(text)))
            text.clear()
    return sha256_of_digests(digests)
