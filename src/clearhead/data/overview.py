"""What the lecture shows first, of any text: vocabulary, ids, split, one batch and its examples."""

from typing import Any

from clearhead.config import TrainConfig
from clearhead.data.facts import text_warnings
from clearhead.data.prepare import Prepared
from clearhead.tokenizers.base import Tokenizer

SAMPLE = "hii there"
"""The lecture's own example, where its characters are in the vocabulary."""
SHOWN_TOKENS = 300
ROWS, COLUMNS = 4, 8
"""The batch that is shown: the lecture's."""


def overview(prepared: Prepared, train: TrainConfig) -> dict[str, Any]:
    """All that `look` says, as one document of JSON values; `train` is the run whose epochs are counted."""
    corpus, tokenizer, data = prepared.corpus, prepared.tokenizer, prepared.data
    first = corpus.train[0]
    sample = SAMPLE if not tokenizer.unknown(SAMPLE) else first[: len(SAMPLE)]
    ids = tokenizer.encode(sample).tolist()
    columns = data.fits(COLUMNS)
    x, y = data.get_batch("train", 0, batch_size=ROWS, block_size=columns, seed=train.seed)
    tokens = len(data.ids("train"))
    return {
        "corpus": corpus.name,
        "sha256": corpus.sha256,
        "characters": sum(map(len, (*corpus.train, *corpus.val))),
        "begins": first[:200],
        "tokenizer": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "vocabulary": [tokenizer.token_text(i) for i in range(min(tokenizer.vocab_size, SHOWN_TOKENS))],
        "sample": {"text": sample, "ids": ids, "decoded": tokenizer.decode(ids)},
        "split": {
            split: {
                "documents": len(getattr(corpus, name)),
                "characters": data.meta.characters[split],
                "tokens": len(data.ids(split)),
            }
            for split, name in (("train", "fit"), ("dev", "dev"), ("val", "val"))
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
        "warnings": [*corpus.notices, *text_warnings((*corpus.train, *corpus.val))],
    }


def _said(tokenizer: Tokenizer, context: Any, target: Any) -> str:
    before = "".join(tokenizer.token_text(int(i)) for i in context)
    return f"{before} -> {tokenizer.token_text(int(target))}"
