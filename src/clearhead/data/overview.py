"""What the lecture shows first, of any text: vocabulary, ids, split, one batch and its examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clearhead.config import TrainConfig
from clearhead.data.corpus import Corpus
from clearhead.data.facts import text_warnings
from clearhead.data.prepare import Prepared
from clearhead.data.shards import ShardDataset
from clearhead.tokenizers.base import Tokenizer

SAMPLE = "hii there"
"""The lecture's own example, where its characters are in the vocabulary."""
SHOWN_TOKENS = 300
BEGINNING = 1_000
"""Tokens of a prepared folder that are turned back into text."""
ROWS, COLUMNS = 4, 8
"""The batch that is shown: the lecture's."""


def overview(prepared: Prepared, train: TrainConfig) -> dict[str, Any]:
    """All that `look` says, as one document of JSON values; `train` is the run whose epochs are counted."""
    tokenizer, data = prepared.tokenizer, prepared.data
    told = _of_text(prepared.corpus) if prepared.shards is None else _of_folder(prepared.shards)
    first = told.begins
    sample = SAMPLE if not tokenizer.unknown(SAMPLE) else first[: len(SAMPLE)]
    ids = tokenizer.encode(sample).tolist()
    columns = data.fits(COLUMNS)
    x, y = data.get_batch("train", 0, batch_size=ROWS, block_size=columns, seed=train.seed)
    tokens = len(data.ids("train"))
    return {
        "corpus": data.meta.name,
        "sha256": data.meta.corpus_sha256,
        "characters": data.meta.characters["counts"] + data.meta.characters["val"],
        "begins": first[:200],
        "tokenizer": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "vocabulary": [tokenizer.token_text(i) for i in range(min(tokenizer.vocab_size, SHOWN_TOKENS))],
        "sample": {"text": sample, "ids": ids, "decoded": tokenizer.decode(ids)},
        "split": {
            split: {
                "documents": told.documents[split],
                "characters": data.meta.characters[split],
                "tokens": len(data.ids(split)),
            }
            for split in ("train", "dev", "val")
        },
        "batch": {"x": x.tolist(), "y": y.tolist()},
        "lines": [
            {
                "context": x[0, : t + 1].tolist(),
                "target": int(y[0, t]),
                "text": _said(tokenizer, x[0, : t + 1], y[0, t]),
            }
            for t in range(columns)
        ],
        "epochs": train.max_iters * train.batch_size * data.fits(train.block_size) / tokens,
        "run": {name: getattr(train, name) for name in ("max_iters", "batch_size", "block_size")},
        "warnings": told.warnings,
    }


@dataclass(frozen=True)
class _Told:
    """What a text, or its prepared folder, says of itself."""

    begins: str
    """How its training text begins."""
    documents: dict[str, int]
    warnings: list[str]


def _of_text(corpus: Corpus) -> _Told:
    documents = {"train": len(corpus.fit), "dev": len(corpus.dev), "val": len(corpus.val)}
    warnings = [*corpus.notices, *text_warnings((*corpus.train, *corpus.val))]
    return _Told(corpus.train[0], documents, warnings)


def _of_folder(data: ShardDataset) -> _Told:
    documents = {split: figures["documents"] for split, figures in data.manifest.splits.items()}
    ids = data.ids("train")[data.manifest.separated : BEGINNING]
    if (eot := data.manifest.eot_id) is not None and (ends := np.flatnonzero(ids == eot)).size:
        ids = ids[: ends[0]]
    return _Told(data.tokenizer.decode(ids), documents, list(data.manifest.notices))


def _said(tokenizer: Tokenizer, context: Any, target: Any) -> str:
    before = "".join(tokenizer.token_text(int(i)) for i in context)
    return f"{before} -> {tokenizer.token_text(int(target))}"
