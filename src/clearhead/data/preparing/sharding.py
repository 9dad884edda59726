"""A text of any size becomes a folder of shards: looked at, learned from and encoded by several processes.

Every step leaves what it made where the next attempt finds it, so that a killed command goes on when it is given
again, and ends with the same manifest. Memory is bounded by blocks and by what is held back, whatever the text.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from clearhead.config import DataConfig, TokenizerConfig
from clearhead.data.corpus import MANY_DOCUMENTS
from clearhead.data.learning import check_tokenizer
from clearhead.data.manifest import (
    FORMAT,
    MANIFEST,
    TOKENIZER,
    Manifest,
    SourceRecord,
    changed_files,
    check_sizes,
    read_manifest,
    write_manifest,
)
from clearhead.data.preparing.encoding import EncodeTask, encode
from clearhead.data.preparing.finishing import finish
from clearhead.data.preparing.gathering import Gathered, Located, gather, holds_documents, locate
from clearhead.data.preparing.parts import Reading
from clearhead.data.preparing.planning import Plan, bytes_of, grouped, plan
from clearhead.data.preparing.scanning import ScanTask, scan
from clearhead.data.preparing.spans import BLOCK, blocks
from clearhead.data.preparing.vocabulary import chosen, learn_tokenizer
from clearhead.data.preparing.workers import in_processes
from clearhead.data.sources import joint_name
from clearhead.errors import ConfigError, CorpusError
from clearhead.files import check_room, flush, storing, sweep, write_atomic
from clearhead.tokenizers.base import Tokenizer, load_tokenizer, open_tokenizer, save_tokenizer, token_dtype

WORK = ".work"
"""What is needed until the manifest is written, inside the folder."""
REQUEST = "request"


@dataclass(frozen=True)
class Progress:
    """How far a step has come, in bytes of text (of shards where they are verified)."""

    step: str
    done: int
    total: int


Watch = Callable[[Progress], None]
Task = TypeVar("Task", ScanTask, EncodeTask)


@dataclass(frozen=True)
class Order:
    """What is wanted of a text."""

    data: DataConfig
    tokenizer: TokenizerConfig
    shard_tokens: int
    """Tokens of a shard, about: it is made of so many bytes of text, and these make no more tokens."""
    workers: int = 1
    weights: tuple[float, ...] = ()
    """How much of what training draws is from each source; then they are kept apart."""

    def __post_init__(self) -> None:
        if not all(0 < weight < float("inf") for weight in self.weights):
            raise ConfigError(f"weights={self.weights} must all be above 0; leave a source out that is not wanted")
        for name in ("shard_tokens", "workers"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name}={value} must be at least 1; leave it out for the default")

    def request(self, sources: Sequence[Located]) -> str:
        """SHA-256 of all that decides what the shards will hold, but for the texts themselves."""
        named = {
            "format": FORMAT,
            "block": BLOCK,
            "data": asdict(self.data),
            "tokenizer": asdict(self.tokenizer),
            "shard_tokens": self.shard_tokens,
            "sources": [source.described() for source in sources],
        }
        if self.weights:
            named["weights"] = self.weights
        if self.tokenizer.from_file:
            named["tokenizer_file"] = open_tokenizer(Path(self.tokenizer.tokenizer)).fingerprint
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def make_shards(arguments: Sequence[str], folder: Path, order: Order, watch: Watch) -> Manifest:
    """Prepare a text: afresh, or from where a killed command left it; a finished folder is verified, every byte.

    CorpusError, TokenizerError, ConfigError or StorageError says in one line what is in the way.
    """
    check_tokenizer(order.tokenizer)
    if order.weights and len(order.weights) != len(set(arguments)):
        raise ConfigError(f"{len(order.weights)} weights for {len(set(arguments))} sources; give one for each")
    sources = locate(arguments, order.data)
    request = order.request(sources)
    if (folder / MANIFEST).exists():
        return _finished(folder, request, watch)
    work = folder / WORK
    _begin(folder, work, request)
    gathered = gather(sources, work)
    planned = _plan(folder, gathered, order, watch)
    tokenizer = _tokenizer(planned, work / TOKENIZER, order, watch)
    _encode(planned, tokenizer, order, watch)
    manifest = _manifest(folder, gathered, planned, tokenizer, order, request)
    save_tokenizer(tokenizer, folder / TOKENIZER)
    write_manifest(folder, manifest)
    tidy(folder)
    return manifest


def verify(folder: Path, watch: Watch) -> Manifest:
    """Read every byte of a finished folder; CorpusError names the first file that has changed."""
    manifest = read_manifest(folder)
    check_sizes(folder, manifest)
    done, total = 0, sum(shard.tokens for shard in manifest.shards) * np.dtype(manifest.dtype).itemsize
    for size, changed in changed_files(folder, manifest):
        if changed:
            raise CorpusError(f"{folder / changed} has changed since it was written; restore it, or prepare anew")
        done += size
        watch(Progress("verify", min(done, total), total))
    return manifest


def _finished(folder: Path, request: str, watch: Watch) -> Manifest:
    if read_manifest(folder).request != request:
        raise CorpusError(f"{folder} holds another text, or the same prepared otherwise; give another --out")
    tidy(folder)
    return verify(folder, watch)


def tidy(folder: Path) -> None:
    """Delete what a finished folder does not need: empty shards too, all of whose text is held back."""
    known = {shard.file for shard in read_manifest(folder).shards}
    for file in folder.glob("train-*.bin"):
        if file.name not in known:
            file.unlink()
            file.with_suffix(".docs").unlink(missing_ok=True)
    shutil.rmtree(folder / WORK, ignore_errors=True)


def _begin(folder: Path, work: Path, request: str) -> None:
    """Make a folder, or go on in one that was begun for the same request."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        begun = (work / REQUEST).read_text(encoding="utf-8") if (work / REQUEST).is_file() else None
        if begun is None and any(path.name != WORK for path in folder.iterdir()):
            raise CorpusError(f"{folder} is not empty; give another --out")
        if begun not in (None, request):
            if any(work.glob("shard-*.json")):
                raise CorpusError(
                    f"{folder} was begun for another text or other settings; delete it, or give another --out"
                )
            shutil.rmtree(work)
        work.mkdir(exist_ok=True)
        sweep(folder)
        sweep(work)
    write_atomic(work / REQUEST, request)


def _plan(folder: Path, sources: Sequence[Gathered], order: Order, watch: Watch) -> Plan:
    """Look at all of the text, and divide it."""
    reading = Reading(order.data, order.tokenizer.lowercase)
    by_document = holds_documents(sources, reading, MANY_DOCUMENTS)
    characters = order.tokenizer.tokenizer == "char"
    apart = [source.files for source in sources] if order.weights else [[f for each in sources for f in each.files]]
    groups = [
        (source, group)
        for source, files in enumerate(apart)
        for group in grouped(list(blocks(files, min(BLOCK, order.shard_tokens))), order.shard_tokens)
    ]
    tasks = [
        ScanTask(folder / WORK / f"scan-{number:05}.safetensors", group, reading, by_document, characters, source)
        for number, (source, group) in enumerate(groups)
    ]
    _work(scan, tasks, [task for task in tasks if not task.target.is_file()], "look", order, watch)
    planned = plan(folder, tasks, reading, by_document=by_document)
    name = joint_name([source.name for source in sources])
    if not planned.documents:
        raise CorpusError(f"{name} is empty; give a text")
    if planned.characters == 1:
        raise CorpusError(f"{name} holds one character, so there is nothing to predict; give a longer text")
    return planned


def _tokenizer(planned: Plan, path: Path, order: Order, watch: Watch) -> Tokenizer:
    """The tokenizer that was learned before, or is learned now and written."""
    if not path.is_file():
        learned = learn_tokenizer(order.tokenizer, planned, lambda done, total: watch(Progress("learn", done, total)))
        if planned.separated and learned.eot_id is None:
            raise CorpusError("the text holds several documents and the tokenizer has no end-of-text; give another")
        aside = path.with_name(f".{path.name}.tmp")
        save_tokenizer(learned, aside)
        flush(aside)
        aside.replace(path)
    return load_tokenizer(path)


def _encode(planned: Plan, tokenizer: Tokenizer, order: Order, watch: Watch) -> None:
    left = [task for task in planned.tasks if task.finished() is None]
    if order.tokenizer.tokenizer in ("char", "byte"):  # of these it is known how many tokens there will be
        width = np.dtype(token_dtype(tokenizer.vocab_size)).itemsize
        check_room(planned.tasks[0].folder, width * sum(bytes_of(task.blocks) for task in left))
    _work(encode, planned.tasks, left, "encode", order, watch)


def _work(
    work: Callable[[Task], None], tasks: Sequence[Task], left: Sequence[Task], step: str, order: Order, watch: Watch
) -> None:
    """Do what is left of some tasks, and tell how far it is."""
    total = sum(bytes_of(task.blocks) for task in tasks)
    done = total - sum(bytes_of(task.blocks) for task in left)
    watch(Progress(step, done, total))
    for task in in_processes(work, left, min(order.workers, max(1, len(left)))):
        done += bytes_of(task.blocks)
        watch(Progress(step, done, total))


def _manifest(
    folder: Path, sources: Sequence[Gathered], planned: Plan, tokenizer: Tokenizer, order: Order, request: str
) -> Manifest:
    finished = finish(folder, planned, tokenizer)
    sha = hashlib.sha256()
    for seen in planned.scans():
        sha.update(seen.digests.tobytes())
    notices = [notice for source in sources for notice in source.notices]
    if order.tokenizer.tokenizer not in ("char", "byte") and not order.tokenizer.from_file:
        read, there = (sum(bytes_of(task.blocks) for task in tasks) for tasks in (chosen(planned), planned.tasks))
        if read < there:
            notices.append(
                f"the tokenizer learned from {read / 1e6:,.0f} of {there / 1e6:,.0f} MB, from all over the text"
            )
    return Manifest(
        name=joint_name([source.name for source in sources]),
        sha256=sha.hexdigest(),
        val_sha256=finished.val_sha256,
        tokenizer=tokenizer.name,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        eot_id=tokenizer.eot_id,
        dtype=np.dtype(token_dtype(tokenizer.vocab_size)).name,
        separated=planned.separated,
        reading={"data": asdict(order.data), "tokenizer": asdict(order.tokenizer)},
        request=request,
        sources=tuple(
            SourceRecord(source.name, source.bytes, weight)
            for source, weight in zip(sources, order.weights or [None] * len(sources), strict=True)
        ),
        shards=finished.shards,
        notices=(*notices, *finished.notices),
    )
