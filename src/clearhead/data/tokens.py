"""The ids of a corpus: random batches to learn from, windows to be judged on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor

from clearhead.data import batches, store
from clearhead.data.corpus import Corpus
from clearhead.data.joined import JoinedIds
from clearhead.data.sample import sample
from clearhead.data.store import TokenMeta
from clearhead.errors import CorpusError, did_you_mean
from clearhead.runtime import stream_seed
from clearhead.tokenizers.base import Ids, Tokenizer

SPLITS = ("train", "dev", "val", "counts")
"""train: what gradients see; dev decides; val judges; counts: train and dev, all that counted models may see."""
MOST_COUNTED = 1 << 28
"""Ids that the ladder's counted models learn from, at most: more teaches them little, and takes long."""


class TokenDataset:
    """Memory-mapped ids of a corpus, by split.

    Of several documents each stream is eot d1 eot d2 eot ... dn eot; one document is its ids, nothing else.
    """

    def __init__(self, folder: Path, meta: TokenMeta) -> None:
        self.meta = meta
        training = store.open_ids(folder / store.TRAIN, meta.dtype)
        self._ids: dict[str, Ids | JoinedIds] = {
            "train": training[: meta.dev_start + meta.separated],
            "dev": training[meta.dev_start :],
            "val": store.open_ids(folder / store.VAL, meta.dtype),
            "counts": training,
        }

        self._placed: dict[str, Tensor] = {}

    @classmethod
    def prepare(cls, corpus: Corpus, tokenizer: Tokenizer) -> Self:
        """The ids of a corpus, from the cache or written into it.

        TokenizerError when the tokenizer cannot encode the corpus; StorageError when the disk refuses.
        """
        found = store.find(corpus.sha256, tokenizer.fingerprint, corpus.val_sha256)
        folder, meta = found or store.write(corpus, tokenizer)
        return cls(folder, replace(meta, name=corpus.name))

    @classmethod
    def find(cls, corpus_sha256: str, tokenizer_fingerprint: str) -> Self | None:
        """The ids in the cache by full fingerprints; None when they are not there or damaged."""
        found = store.find(corpus_sha256, tokenizer_fingerprint)
        return cls(*found) if found else None

    def ids(self, split: str) -> Ids:
        """(n,) ids of a split (train, dev, val or counts), mapped, not loaded; empty where the split is not made.

        Where they lie in several files, `JoinedIds`: used as an array, but not to have all of them at once.
        """
        return cast(Ids, self._stream(split))

    def pieces(self, split: str, most: int = 1 << 21) -> Iterator[Ids]:
        """The ids of a split in order, in arrays of at most `most`: for what goes through a text of any size."""
        ids = self._stream(split)
        return (ids if isinstance(ids, JoinedIds) else JoinedIds([ids])).pieces(most)

    def counted(self, split: str, parts: int | None = None) -> Ids:
        """The ids that counted models are given: a sample of one in `parts`, without it in as few as `thinned` says."""
        return sample(self.ids(split), parts or self.thinned(), separated=self.meta.separated)

    def thinned(self, most: int = MOST_COUNTED) -> int:
        """In how many parts the training text must be divided, to the next power of two, for one to be `most` ids."""
        return 1 << max(0, (len(self.ids("counts")) - 1) // most).bit_length()

    def place(self, device: torch.device, room: int) -> None:
        """Let the batches of every split that fits into `room` bytes, the shortest first, be gathered on a device."""
        for split in sorted(("train", "dev", "val"), key=lambda split: len(self._ids[split])):
            ids = self._ids[split]
            if isinstance(ids, JoinedIds):
                continue  # in several files: more than memory should hold at once
            width = np.uint8 if ids.dtype == np.uint8 else np.int32  # torch does not index by uint16
            room -= len(ids) * np.dtype(width).itemsize
            if room < 0:
                return
            self._placed[split] = torch.from_numpy(ids.astype(width)).to(device)

    def fits(self, block_size: int, split: str = "train") -> int:
        """The largest usable block, at most the one asked for; CorpusError when the split has no two tokens."""
        return min(block_size, len(self._predictable(split)) - 1)

    def get_batch(
        self,
        split: str,
        step: int,
        *,
        batch_size: int,
        block_size: int,
        seed: int,
        stream: str = "train",
        rows: slice | None = None,
    ) -> tuple[Tensor, Tensor]:
        """x, y (B, T) int64: random windows of a split, and the same one token later.

        They are on the CPU, or where `place` has put the split.
        A pure function of (seed, stream, split, step, sample number). `rows` picks samples of the batch, a rank's
        share: they equal the same rows of the whole. CorpusError when the block does not fit (see `fits`).
        """
        ids = self._predictable(split)
        if len(ids) <= block_size:
            raise CorpusError(
                f"block_size={block_size} does not fit the {len(ids)} tokens of the {split} split; "
                f"try {len(ids) - 1} or less"
            )
        starts = self._starts(split, step, batch_size, block_size, (seed, stream, split))
        return batches.gather(self._placed.get(split, ids), starts if rows is None else starts[rows], block_size)

    def _starts(
        self, split: str, step: int, batch_size: int, block_size: int, key: tuple[int | str, ...]
    ) -> batches.Offsets:
        """(B,) where the windows of a batch begin."""
        return batches.offsets(stream_seed(*key), step, batch_size, len(self.ids(split)) - block_size)

    def windows(self, split: str, block_size: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """x, y (B, T) batches of non-overlapping windows: every id but the first is a target once, in order."""
        return batches.windows(self._predictable(split), block_size, batch_size)

    def _stream(self, split: str) -> Ids | JoinedIds:
        if split not in self._ids:
            raise CorpusError(f"unknown split '{split}': {did_you_mean(split, SPLITS)}")
        return self._ids[split]

    def _predictable(self, split: str) -> Ids:
        ids = self.ids(split)
        if len(ids) < 2:
            raise CorpusError(f"the {split} split has {len(ids)} tokens, nothing to predict; give a longer text")
        return ids
