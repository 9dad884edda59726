"""Steps of a datatrove pipeline that write a prepared folder: every task a shard, then one task the manifest.

Only who imports this needs datatrove. Its executors (local, Slurm, Ray) begin the tasks and begin those again that
failed; readers, filters and deduplication that stand before these steps are its own.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.base import PipelineStep  # pyright: ignore[reportMissingImports]

from clearhead.config import DEV_FRACTION, VAL_FRACTION, DataConfig, TokenizerConfig
from clearhead.data.corpus import rank as hash_of
from clearhead.data.manifest import FORMAT, TOKENIZER, Manifest, SourceRecord, write_manifest
from clearhead.data.preparing.dealing import Deal, place_of_rank
from clearhead.data.preparing.encoding import EncodeTask, write_shard
from clearhead.data.preparing.finishing import finish
from clearhead.data.preparing.parts import Part, Reading
from clearhead.data.preparing.planning import Plan
from clearhead.data.preparing.segments import ByDocument, Segment
from clearhead.data.preparing.sharding import WORK, tidy
from clearhead.errors import CorpusError, TokenizerError
from clearhead.files import storing, write_atomic
from clearhead.tokenizers.base import Tokenizer, open_tokenizer, save_tokenizer, token_dtype

_TOGETHER = 1_000
"""Documents encoded at a time."""
_TASKS = "tasks"


class ShardWriter(PipelineStep):
    """Writes the documents that come to a task as its shard; `tokenizer` is a tokenizer.json with an end-of-text.

    A document's split follows from its text: the first `val` of all hashes validate, the first `dev` of the others
    decide. What is held back stays in memory until the task ends, and is read whole at every evaluation: give small
    shares for a large corpus. `folder` is one that all tasks see.
    """

    type = "Writer"
    name = "clearhead shards"

    def __init__(
        self, folder: str, tokenizer: str, *, val: float = VAL_FRACTION, dev: float = DEV_FRACTION, name: str = ""
    ) -> None:
        super().__init__()
        self.folder, self.tokenizer = str(Path(folder).absolute()), str(Path(tokenizer).absolute())
        self.corpus = name or Path(folder).name
        val_end = round(val * 2**64)
        self.deal = Deal(val_end, val_end + round(dev * (2**64 - val_end)), frozenset())

    def run(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> None:
        """Write a shard of the documents that come; it is the last step, nothing is passed on."""
        tokenizer, folder = _opened(self.tokenizer), Path(self.folder)
        with storing(folder):
            (folder / WORK).mkdir(parents=True, exist_ok=True)
        write_atomic(folder / WORK / _TASKS, str(world_size))
        write_shard(_task(folder, rank, self.deal), self._groups(iter(data)), tokenizer)

    def _groups(self, documents: Iterator[Any]) -> Iterator[list[Segment]]:
        """The segments of documents, some at a time."""
        while together := list(islice(documents, _TOGETHER)):
            for document in together:
                self.update_doc_stats(document)
            parts = [Part(document.text) for document in together if document.text]
            places = np.array([place_of_rank(hash_of(part.text)) for part in parts], dtype=np.uint64)
            yield list(ByDocument(self.deal).segments(parts, places))


class ManifestWriter(PipelineStep):
    """Makes the folder that `ShardWriter` filled whole, in one task that begins when all of its tasks have ended."""

    type = "Writer"
    name = "clearhead manifest"

    def __init__(self, shards: ShardWriter) -> None:
        super().__init__()
        self.shards = shards

    def run(self, data: Iterable[Any] | None = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the shards of dev and val and the manifest; CorpusError names a task that has not ended."""
        if rank == 0:
            write_folder(self.shards)


def write_folder(shards: ShardWriter) -> Manifest:
    """What `ManifestWriter` does."""
    folder, tokenizer = Path(shards.folder), _opened(shards.tokenizer)
    tasks = _tasks(folder, shards.deal)
    # The number of documents says only that there are several: end-of-text stands between them in any case.
    finished = finish(folder, Plan(tasks, documents=2, characters=0, splitter=ByDocument(shards.deal)), tokenizer)
    sha = hashlib.sha256("".join(shard.sha256 for shard in finished.shards).encode()).hexdigest()
    manifest = Manifest(
        name=shards.corpus,
        sha256=sha,
        val_sha256=finished.val_sha256,
        tokenizer=tokenizer.name,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        eot_id=tokenizer.eot_id,
        dtype=np.dtype(token_dtype(tokenizer.vocab_size)).name,
        separated=True,
        reading={"data": asdict(DataConfig()), "tokenizer": asdict(TokenizerConfig(tokenizer=shards.tokenizer))},
        request=hashlib.sha256(f"{FORMAT} datatrove {sha}".encode()).hexdigest(),
        sources=(SourceRecord(shards.corpus, sum(shard.characters for shard in finished.shards)),),
        shards=finished.shards,
        notices=finished.notices,
    )
    save_tokenizer(tokenizer, folder / TOKENIZER)
    write_manifest(folder, manifest)
    tidy(folder)
    return manifest


def _tasks(folder: Path, deal: Deal) -> tuple[EncodeTask, ...]:
    try:
        count = int((folder / WORK / _TASKS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CorpusError(f"{folder} holds no shards that wait for a manifest; run ShardWriter first") from None
    tasks = tuple(_task(folder, number, deal) for number in range(count))
    if missing := [str(task.number) for task in tasks if task.finished() is None]:
        raise CorpusError(
            f"{len(missing)} of {count} tasks have not written their shard in {folder} (such as {missing[0]}); "
            "run the pipeline again"
        )
    return tasks


def _task(folder: Path, number: int, deal: Deal) -> EncodeTask:
    return EncodeTask(number, folder, folder / WORK, (), Reading(DataConfig()), ByDocument(deal), separated=True)


def _opened(path: str) -> Tokenizer:
    tokenizer = open_tokenizer(Path(path), eot=True)
    if tokenizer.eot_id is None:
        raise TokenizerError(f"{path} has no end-of-text, which stands between documents; learn one from several")
    return tokenizer
