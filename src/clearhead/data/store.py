"""Token ids on disk: written once per corpus and tokenizer, found again by fingerprint, verified."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clearhead.data.corpus import Corpus
from clearhead.errors import StorageError, TokenizerError
from clearhead.files import folder_atomic, sha256_file
from clearhead.runtime import cache_dir
from clearhead.tokenizers.base import Ids, Tokenizer, token_dtype

TRAIN, VAL, META = "train.bin", "val.bin", "meta.json"

_FORMAT = 2
"""Of the layout; another number in meta.json means: write again."""


@dataclass(frozen=True)
class TokenMeta:
    """What is known of the ids of a corpus. The dicts go by split: train (fit), dev, val, counts (train + dev)."""

    name: str
    """The corpus's."""
    corpus_sha256: str
    val_sha256: str
    tokenizer_fingerprint: str
    vocab_size: int
    dtype: str
    """uint16 or uint32; the files are little-endian."""
    separated: bool
    """End-of-text before, between and after the documents."""
    dev_start: int
    """Where in train.bin the dev stream begins; its length when there is none."""
    tokens: dict[str, int]
    """Ids in train.bin ("counts") and val.bin ("val")."""
    characters: dict[str, int]
    """Characters of the documents."""
    hidden: dict[str, int]
    """Of these, how many an unknown token hides."""
    sha256: dict[str, str]
    """Of train.bin and val.bin."""
    format: int = _FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 of all this: a figure that has changed on the disk is not believed."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def folder_of(corpus_sha256: str, tokenizer_fingerprint: str) -> Path:
    """Where the ids of a corpus and a tokenizer are kept."""
    return cache_dir() / "tokens" / f"{corpus_sha256[:16]}-{tokenizer_fingerprint[:16]}"


def find(
    corpus_sha256: str, tokenizer_fingerprint: str, val_sha256: str | None = None
) -> tuple[Path, TokenMeta] | None:
    """The folder and meta of ids written before; None when there are none, or they are damaged or not these."""
    folder = folder_of(corpus_sha256, tokenizer_fingerprint)
    try:
        meta = read_meta(folder)
        asked = (corpus_sha256, tokenizer_fingerprint, meta.val_sha256 if val_sha256 is None else val_sha256)
        if asked != (meta.corpus_sha256, meta.tokenizer_fingerprint, meta.val_sha256):
            return None
        width = np.dtype(meta.dtype).itemsize
        sizes = [(folder / file).stat().st_size for file in (TRAIN, VAL)]
        whole = sizes == [meta.tokens["counts"] * width, meta.tokens["val"] * width] and hashes(folder) == meta.sha256
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return (folder, meta) if whole else None


def write(corpus: Corpus, tokenizer: Tokenizer) -> tuple[Path, TokenMeta]:
    """Encode a corpus into its folder, in place of damaged ids; another process that was faster wins.

    TokenizerError when the tokenizer lacks a character or, with several documents, end-of-text; StorageError when
    the disk refuses. Nothing half-written stays.
    """
    if corpus.separated and tokenizer.eot_id is None:
        raise TokenizerError(
            f"'{corpus.name}' holds several documents and the tokenizer has no end-of-text; "
            "train the tokenizer on this text, or give one document"
        )
    wanted = (corpus.sha256, tokenizer.fingerprint, corpus.val_sha256)
    folder = folder_of(*wanted[:2])
    try:
        with folder_atomic(folder) as aside:
            meta = _write_into(aside, corpus, tokenizer)
            if folder.exists() and find(*wanted) is None:
                shutil.rmtree(folder)
    except StorageError:
        if found := find(*wanted):
            return found
        raise
    return folder, meta


def open_ids(path: Path, dtype: str) -> Ids:
    """The ids of a file, mapped into memory, read-only (a file without ids cannot be mapped)."""
    stored = np.dtype(dtype).newbyteorder("<")
    if path.stat().st_size == 0:
        return np.empty(0, dtype=stored)
    return np.asarray(np.memmap(path, dtype=stored, mode="r"))


def read_meta(folder: Path) -> TokenMeta:
    """What was written of the ids in a folder; ValueError, TypeError, KeyError or another when it is anything else."""
    path = folder / META
    values: dict[str, Any] = {**json.loads(path.read_text(encoding="utf-8"))}
    digest = values.pop("digest")
    meta = TokenMeta(**values)
    if digest != meta.digest or asdict(meta) != values or meta.format != _FORMAT or not _is_possible(meta):
        raise ValueError(f"{path} has changed, or has another format")
    return meta


def _is_possible(meta: TokenMeta) -> bool:
    """Whether figures are figures, and ids of a type that ids have; TypeError or KeyError where they are not."""
    splits = {"train", "dev", "val", "counts"}
    figures = [*meta.tokens.values(), *meta.characters.values(), *meta.hidden.values(), meta.dev_start, meta.vocab_size]
    return (
        isinstance(meta.name, str)
        and meta.separated in (True, False)
        and meta.characters.keys() == meta.hidden.keys() == splits
        and all(type(figure) is int and figure >= 0 for figure in figures)
        and meta.dev_start <= meta.tokens["counts"]
        and meta.dtype == np.dtype(token_dtype(meta.vocab_size)).name
    )


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the ids in a folder, by file."""
    return {file: sha256_file(folder / file) for file in (TRAIN, VAL)}


def _write_into(folder: Path, corpus: Corpus, tokenizer: Tokenizer) -> TokenMeta:
    dtype = np.dtype(token_dtype(tokenizer.vocab_size))
    separator = np.array([tokenizer.eot_id] if corpus.separated else [], dtype=dtype)
    with (folder / TRAIN).open("wb") as file:
        fit = _append(file, corpus.fit, tokenizer, separator, lead=separator)
        dev_start = file.tell() // dtype.itemsize - len(separator)  # dev begins with the end of the last document
        dev = _append(file, corpus.dev, tokenizer, separator)
        counts = file.tell() // dtype.itemsize
    with (folder / VAL).open("wb") as file:
        val = _append(file, corpus.val, tokenizer, separator, lead=separator)
        val_tokens = file.tell() // dtype.itemsize
    parts = {"train": fit, "dev": dev, "val": val, "counts": (fit[0] + dev[0], fit[1] + dev[1])}
    meta = TokenMeta(
        name=corpus.name,
        corpus_sha256=corpus.sha256,
        val_sha256=corpus.val_sha256,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        dtype=dtype.name,
        separated=corpus.separated,
        dev_start=dev_start if corpus.dev else counts,
        tokens={"counts": counts, "val": val_tokens},
        characters={split: characters for split, (characters, _) in parts.items()},
        hidden={split: hidden for split, (_, hidden) in parts.items()},
        sha256=hashes(folder),
    )
    document = {**asdict(meta), "digest": meta.digest}
    (folder / META).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return meta


def _append(
    file: BinaryIO, documents: Sequence[str], tokenizer: Tokenizer, separator: Ids, lead: Ids | None = None
) -> tuple[int, int]:
    """Write documents, each with the separator after it; return their characters and the hidden ones of these."""
    characters = hidden = 0
    if documents and lead is not None:
        _write_ids(file, lead)
    for document in documents:
        ids = tokenizer.encode(document)
        _write_ids(file, ids)
        _write_ids(file, separator)
        characters += len(document)
        if tokenizer.unk_id is not None and (ids == tokenizer.unk_id).any():
            hidden += tokenizer.hidden_characters(document)
    return characters, hidden


def _write_ids(file: BinaryIO, ids: Ids) -> None:
    file.write(np.ascontiguousarray(ids, dtype=ids.dtype.newbyteorder("<")).data)
