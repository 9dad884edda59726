"""One shard on its way to the disk: ids, and where documents begin, written aside and renamed."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from clearhead.data.manifest import INDEX_DTYPE, Shard
from clearhead.data.preparing.segments import Segment
from clearhead.files import open_atomic
from clearhead.tokenizers.base import Ids, Tokenizer, token_dtype


class ShardFile:
    """Takes segments and their ids; the files are there, whole, when the block of `with` has ended well."""

    def __init__(self, folder: Path, split: str, number: int, tokenizer: Tokenizer, *, separated: bool) -> None:
        self.path, self.split = folder / f"{split}-{number:05}.bin", split
        dtype = np.dtype(token_dtype(tokenizer.vocab_size))
        self._separator = np.array([tokenizer.eot_id] if separated else [], dtype=dtype)
        self._dtype = dtype.newbyteorder("<")
        self._tokens = self._characters = self._hidden = 0
        self._documents: list[Ids] = []
        self._sha = hashlib.sha256()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(open_atomic(self.path))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def lead(self) -> None:
        """Write the end-of-text that a split of several documents begins with."""
        self._write(self._separator)

    def add(self, segments: Sequence[Segment], ids: Sequence[Ids], hidden: int) -> None:
        """Write segments, an end-of-text behind each that ends a document."""
        lengths = np.array([len(each) for each in ids], dtype=np.int64)
        ends = np.array([segment.ends for segment in segments], dtype=np.int64) * len(self._separator)
        starts = self._tokens + np.cumsum(lengths + ends) - lengths - ends
        self._documents.append(starts[[segment.begins for segment in segments]].astype(INDEX_DTYPE))
        pairs = zip(ids, ends.tolist(), strict=True)
        pieces = [piece for each, end in pairs for piece in (each, self._separator)[: 1 + end]]
        if pieces:
            self._write(np.concatenate(pieces))
        self._characters += sum(len(segment.text) for segment in segments)
        self._hidden += hidden

    def finish(self) -> Shard:
        """Write where documents begin, and say what was written; the last thing before the block ends."""
        index = np.concatenate([np.empty(0, dtype=INDEX_DTYPE), *self._documents])
        shard = Shard(
            file=self.path.name,
            split=self.split,
            tokens=self._tokens,
            documents=len(index),
            characters=self._characters,
            hidden=self._hidden,
            sha256=self._sha.hexdigest(),
            documents_sha256=hashlib.sha256(index.tobytes()).hexdigest(),
        )
        with open_atomic(self.path.with_name(shard.index)) as file:
            file.write(index.tobytes())
        return shard

    def _write(self, ids: Ids) -> None:
        data = np.ascontiguousarray(ids, dtype=self._dtype).data
        self._file.write(data)
        self._sha.update(data)
        self._tokens += len(ids)


def encoded(tokenizer: Tokenizer, segments: Sequence[Segment]) -> tuple[list[Ids], list[int]]:
    """The ids of segments, and how many characters of each an unknown token hides.

    A tokenizer that has `encode_batch(texts)` is given all at once.
    """
    texts = [segment.text for segment in segments]
    at_once = getattr(tokenizer, "encode_batch", None)
    ids: list[Ids] = at_once(texts) if at_once else [tokenizer.encode(text) for text in texts]
    if tokenizer.unk_id is None or not ids or not (np.concatenate(ids) == tokenizer.unk_id).any():
        return ids, [0] * len(ids)
    return ids, [tokenizer.hidden_characters(text) for text in texts]
