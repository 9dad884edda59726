"""What a folder of prepared tokens says of itself: its shards, their sizes and hashes, and what they were made of."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clearhead.errors import CorpusError
from clearhead.files import flush, sha256_file, storing, write_atomic
from clearhead.tokenizers.base import token_dtype

MANIFEST = "manifest.json"
"""Written last: a folder that has it is complete."""
TOKENIZER = "tokenizer.json"
FORMAT = "clearhead shards 1"
SPLITS = ("train", "dev", "val")
INDEX_DTYPE = np.dtype("<u8")


@dataclass(frozen=True)
class Shard:
    """A file of ids, and beside it the file of the places where its documents begin."""

    file: str
    split: str
    tokens: int
    documents: int
    """That begin in it."""
    characters: int
    hidden: int
    """Characters that an unknown token hides."""
    sha256: str
    documents_sha256: str
    source: int = 0
    """Which of the sources it is of, where they are kept apart."""

    @property
    def index(self) -> str:
        """The file of places: 64 bit integers, little-endian, counted in ids from the beginning of the shard."""
        return self.file.removesuffix(".bin") + ".docs"


@dataclass(frozen=True)
class SourceRecord:
    """What was named as a text."""

    name: str
    bytes: int
    weight: float | None = None
    """How much of what training draws is from it, beside the other weights; None: as much as its size gives."""


@dataclass(frozen=True)
class Manifest:
    """All that is known of a prepared folder."""

    name: str
    sha256: str
    """Over the digests of the blocks that the text was read in: another text has another."""
    val_sha256: str
    """Of the validation documents, as in `Corpus`: what is compared must be the same."""
    tokenizer: str
    """Its name."""
    tokenizer_fingerprint: str
    vocab_size: int
    eot_id: int | None
    dtype: str
    """uint16 or uint32; the files are little-endian."""
    separated: bool
    """End-of-text before, between and after the documents of a split."""
    reading: Mapping[str, Mapping[str, Any]]
    """The settings `data` and `tokenizer` that the text was read with."""
    request: str
    """SHA-256 of what was asked for: sources, settings, size of a shard."""
    sources: tuple[SourceRecord, ...]
    shards: tuple[Shard, ...]
    """In the order of their streams: train, dev, val."""
    notices: tuple[str, ...] = ()
    """What the user should know, a line each."""

    @property
    def shares(self) -> tuple[float, ...]:
        """What part of the samples each source gives; empty where they are not kept apart."""
        weights = [source.weight for source in self.sources if source.weight is not None]
        return tuple(weight / sum(weights) for weight in weights)

    def spans(self, split: str) -> list[tuple[int, int]]:
        """Where in a split's stream each source begins and ends, with the end-of-text that stands before it."""
        ends = [sum(s.tokens for s in self.of(split) if s.source <= number) for number in range(len(self.sources))]
        begins = [0, *(max(0, end - self.separated) for end in ends[:-1])]
        return list(zip(begins, ends, strict=True))

    def of(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, in order."""
        return tuple(shard for shard in self.shards if shard.split == split)

    def total(self, split: str, figure: str) -> int:
        """A figure (tokens, documents, characters, hidden) over the shards of a split."""
        return sum(getattr(shard, figure) for shard in self.of(split))

    @property
    def splits(self) -> dict[str, dict[str, int]]:
        """The figures of each split."""
        figures = ("tokens", "documents", "characters", "hidden")
        return {split: {figure: self.total(split, figure) for figure in figures} for split in SPLITS}

    def to_dict(self) -> dict[str, Any]:
        """The document that is written, with its digest."""
        document = {"format": FORMAT, **asdict(self), "splits": self.splits}
        return {**document, "digest": _digest(document)}


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder of prepared tokens, whole or not."""
    return os.path.isfile(os.path.join(path, MANIFEST)) and os.path.isfile(os.path.join(path, TOKENIZER))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Declare a folder complete, its tokenizer there; StorageError when the disk refuses."""
    with storing(folder):
        flush(folder / TOKENIZER)
    write_atomic(folder / MANIFEST, json.dumps(manifest.to_dict(), indent=1, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """What a folder says of itself; CorpusError when it is not whole, or of another format."""
    path = folder / MANIFEST
    try:
        values: dict[str, Any] = {**json.loads(path.read_text(encoding="utf-8"))}
        if values.get("format") != FORMAT:
            raise CorpusError(f"{path} has the format {str(values.get('format'))[:40]!r}, not {FORMAT!r}; prepare anew")
        digest, told = values.pop("digest"), values.pop("splits")
        known = {"shards": _records(Shard, values["shards"]), "sources": _records(SourceRecord, values["sources"])}
        manifest = Manifest(**{**_without(values, "format"), **known, "notices": tuple(values["notices"])})
        whole = digest == _digest({**values, "splits": told}) and told == manifest.splits and _is_possible(manifest)
    except FileNotFoundError:
        raise CorpusError(
            f"{folder} has no {MANIFEST}: it is no prepared folder, or not finished; run prepare"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); restore it, or prepare the text anew") from None
    if not whole:
        raise CorpusError(f"{path} has changed since it was written; restore it, or prepare the text anew")
    return manifest


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """CorpusError for the first shard that is missing or has another size. No shard is read."""
    width = np.dtype(manifest.dtype).itemsize
    for shard in manifest.shards:
        for file, wanted in ((shard.file, shard.tokens * width), (shard.index, shard.documents * INDEX_DTYPE.itemsize)):
            try:
                found = (folder / file).stat().st_size
            except OSError as error:
                raise CorpusError(
                    f"{folder / file} cannot be found ({error.strerror}); restore it, or prepare the text anew"
                ) from None
            if found != wanted:
                raise CorpusError(
                    f"{folder / file} has {found:,} bytes and should have {wanted:,}; restore it, or prepare anew"
                )


def changed_files(folder: Path, manifest: Manifest) -> Iterator[tuple[int, str | None]]:
    """Read every byte of the shards: after each, how many bytes it had and the file that has changed, if one has."""
    for shard in manifest.shards:
        for file, wanted in ((shard.file, shard.sha256), (shard.index, shard.documents_sha256)):
            path = folder / file
            yield path.stat().st_size, None if sha256_file(path) == wanted else file


def _records(kind: type[Any], values: list[Any]) -> tuple[Any, ...]:
    return tuple(kind(**value) for value in values)


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _is_possible(manifest: Manifest) -> bool:
    """Whether figures are figures, and files are plain names in this folder."""
    figures = [figure for split in manifest.splits.values() for figure in split.values()]
    return (
        all(type(figure) is int and figure >= 0 for figure in (*figures, manifest.vocab_size))
        and all(shard.split in SPLITS and shard.file == Path(shard.file).name for shard in manifest.shards)
        and all(shard.file.endswith(".bin") for shard in manifest.shards)
        and all(type(shard.source) is int and 0 <= shard.source < len(manifest.sources) for shard in manifest.shards)
        and len(manifest.shares) in (0, len(manifest.sources))
        and manifest.dtype == np.dtype(token_dtype(manifest.vocab_size)).name
    )
