"""Token ids on disk: written once per corpus and tokenizer, found again by fingerprint, verified."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from clearhead.data.corpus import Corpus
from clearhead.errors import StorageError, TokenizerError
from clearhead.files import folder_atomic
from clearhead.runtime import cache_dir
from clearhead.tokenizers.base import Ids, Tokenizer, token_dtype

TRAIN, VAL, META = "train.bin", "val.bin", "meta.json"

_FORMAT = 1
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
    format: int = _FORMAT


def folder_of(corpus_sha256: str, tokenizer_fingerprint: str) -> Path:
    """Where the ids of a corpus and a tokenizer are kept."""
    return cache_dir() / "tokens" / f"{corpus_sha256[:16]}-{tokenizer_fingerprint[:16]}"


def find(
    corpus_sha256: str, tokenizer_fingerprint: str, val_sha256: str | None = None
) -> tuple[Path, TokenMeta] | None:
    """The folder and meta of ids written before; None when there are none, or they are damaged or not these."""
    folder = folder_of(corpus_sha256, tokenizer_fingerprint)
    try:
        meta = TokenMeta(**json.loads((folder / META).read_text(encoding="utf-8")))
        width = np.dtype(meta.dtype).itemsize
        sizes = {TRAIN: meta.tokens["counts"] * width, VAL: meta.tokens["val"] * width}
        whole = all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    asked = (corpus_sha256, tokenizer_fingerprint, meta.val_sha256 if val_sha256 is None else val_sha256, _FORMAT)
    known = (meta.corpus_sha256, meta.tokenizer_fingerprint, meta.val_sha256, meta.format)
    return (folder, meta) if whole and known == asked else None


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
    )
    (folder / META).write_text(json.dumps(asdict(meta), indent=1) + "\n", encoding="utf-8")
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
