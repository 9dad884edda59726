"""A prepared folder as a data set: shards of ids, mapped into memory, drawn from as from one stream."""

from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.data import batches, store
from clearhead.data.joined import JoinedIds
from clearhead.data.manifest import SPLITS, TOKENIZER, Manifest, check_sizes, read_manifest
from clearhead.data.remote import is_remote, local_folder
from clearhead.data.store import TokenMeta
from clearhead.data.tokens import TokenDataset
from clearhead.errors import CorpusError, TokenizerError
from clearhead.runtime import stream_seed
from clearhead.tokenizers.base import Ids, Tokenizer, load_tokenizer


class ShardDataset(TokenDataset):
    """The ids of a prepared folder, by split.

    A split that is one shard is a mapped array; one of several is `JoinedIds`, which gives arrays for slices and
    places. What has been read can be dropped by the system at any time: memory does not grow with the text.
    """

    def __init__(self, folder: Path, manifest: Manifest, tokenizer: Tokenizer, address: str | None = None) -> None:
        self.folder, self.manifest, self.tokenizer, self.address = folder, manifest, tokenizer, address
        self.meta = _meta(manifest)
        arrays = {split: self._mapped(split) for split in SPLITS}
        self._ids = {split: self._joined(arrays[split]) for split in SPLITS}
        dev = list(arrays["dev"])
        if manifest.separated and dev:
            dev[0] = dev[0][1:]  # the end of the last document opens the dev stream, too
        self._ids["counts"] = self._joined([*arrays["train"], *dev])
        self._placed = {}

    def fits(self, block_size: int, split: str = "train") -> int:
        """As of every text; where sources are drawn by weight, a block that fits each of them."""
        most = super().fits(block_size, split)
        if split != "train" or not self.manifest.shares:
            return most
        for source, (begin, end) in zip(self.manifest.sources, self.manifest.spans(split), strict=True):
            if end - begin < 2:
                raise CorpusError(f"source {source.name} has no training text, and a weight; leave it out")
            most = min(most, end - begin - 1)
        return most

    def _starts(
        self, split: str, step: int, batch_size: int, block_size: int, key: tuple[int | str, ...]
    ) -> batches.Offsets:
        """As of every text; training text and dev are drawn by weight, from the sources that a block fits in."""
        spans = [(begin, end - block_size) for begin, end in self.manifest.spans(split)] if split != "val" else []
        drawn = [(span, share) for span, share in zip(spans, self.manifest.shares, strict=False) if span[0] < span[1]]
        if not drawn:
            return super()._starts(split, step, batch_size, block_size, key)
        places, shares = zip(*drawn, strict=True)
        seeds = stream_seed(*key, "source"), stream_seed(*key)
        return batches.weighted_offsets(seeds, step, batch_size, places, [share / sum(shares) for share in shares])

    def settings(self, config: RunConfig) -> RunConfig:
        """A configuration with the settings that the text was prepared with."""
        data, tokenizer = (self.manifest.reading[name] for name in ("data", "tokenizer"))
        return replace(config, data=DataConfig(**data), tokenizer=TokenizerConfig(**tokenizer))

    @classmethod
    def open(cls, place: str | Path, tokenizer: Tokenizer | None = None) -> Self:
        """A folder that `clearhead prepare` finished, wherever it lies now; of one at an address (scheme://path) the
        copy in the cache, made where it is missing.

        Its manifest, the size of every shard and its tokenizer are checked; the bytes of the shards are not read:
        `changed_files` does that. CorpusError when anything is missing or not as it was, or when another
        `tokenizer` is wanted than it was prepared with.
        """
        address = str(place) if is_remote(str(place)) else None
        folder = local_folder(address) if address else Path(place)
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
        try:
            own = load_tokenizer(folder / TOKENIZER)
        except TokenizerError as error:
            raise CorpusError(f"{folder} has lost its tokenizer ({error}); prepare the text anew") from None
        if own.fingerprint != manifest.tokenizer_fingerprint:
            raise CorpusError(f"{folder / TOKENIZER} has changed since the shards were written; prepare the text anew")
        if tokenizer is not None and tokenizer.fingerprint != own.fingerprint:
            raise CorpusError(
                f"{folder} was prepared with another tokenizer ({own.name}, {own.vocab_size:,} ids, "
                f"{own.fingerprint[:12]}) than this ({tokenizer.name}, {tokenizer.vocab_size:,}, "
                f"{tokenizer.fingerprint[:12]}); prepare the text with this one"
            )
        return cls(folder, manifest, own, address)

    def _mapped(self, split: str) -> list[Ids]:
        return [store.open_ids(self.folder / shard.file, self.manifest.dtype) for shard in self.manifest.of(split)]

    def _joined(self, arrays: list[Ids]) -> Ids | JoinedIds:
        """One array where one is enough; else what is used as one."""
        if len(arrays) > 1:
            return JoinedIds(arrays)
        return arrays[0] if arrays else np.empty(0, dtype=self.manifest.dtype)


def _meta(manifest: Manifest) -> TokenMeta:
    """What the token cache would say of the same ids."""
    splits = manifest.splits
    counted = {figure: splits["train"][figure] + splits["dev"][figure] for figure in splits["train"]}
    shared = manifest.separated and splits["dev"]["tokens"] > 0  # the end of the last document opens dev, too
    splits["counts"] = {**counted, "tokens": counted["tokens"] - shared}
    return TokenMeta(
        name=manifest.name,
        corpus_sha256=manifest.sha256,
        val_sha256=manifest.val_sha256,
        tokenizer_fingerprint=manifest.tokenizer_fingerprint,
        vocab_size=manifest.vocab_size,
        dtype=manifest.dtype,
        separated=manifest.separated,
        dev_start=splits["train"]["tokens"] - shared,
        tokens={split: splits[split]["tokens"] for split in ("counts", "val")},
        characters={split: figures["characters"] for split, figures in splits.items()},
        hidden={split: figures["hidden"] for split, figures in splits.items()},
        sha256={shard.file: shard.sha256 for shard in manifest.shards},
    )
