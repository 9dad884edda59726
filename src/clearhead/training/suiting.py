"""Which tokenizer suits a text and a budget: a line where what was measured speaks for another.

What was measured: benchmarks/vocabularies.py, told in docs/tokenizers.md.
"""

from collections.abc import Iterator

import numpy as np

from clearhead.config import TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.tokenizers.base import Tokenizer

SELDOM, MOST_SELDOM = 10, 0.5
"""A token that occurs fewer times teaches little; so does a vocabulary of which more than this share is such."""
MEASURED_CHARACTERS = 2_000_000
"""The texts that were measured on had 0.5 and 1.1 million; nothing is said of much longer ones."""


def tokenizer_hints(tokenizer: Tokenizer, data: TokenDataset, train: TrainConfig) -> Iterator[str]:
    """Lines for a run that was planned; none where nothing that was measured speaks against its tokenizer."""
    ids, characters = data.ids("train"), data.meta.characters["train"]
    if tokenizer.name == "bpe" and characters < MEASURED_CHARACTERS:
        epochs = train.max_iters * train.batch_size * train.block_size / len(ids)
        yield (
            f"tokenizer: on a text of {characters:,} characters, read {epochs:.1f} times, char is worth a try: where "
            "both had the same time on 0.5 and 1.1 million, 4,096 BPE tokens left the mixture 0.05 to 0.10 bits per "
            "character above, and the GPT alone 0.03 to 0.09 below (docs/tokenizers.md)"
        )
    if tokenizer.name in ("word", "bpe") and (line := _seldom(np.bincount(ids, minlength=tokenizer.vocab_size))):
        yield line


def _seldom(counts: np.ndarray) -> str | None:
    """A line where most of a vocabulary (V,) occurs too seldom to be learned; else None."""
    size, frequent = len(counts), int(np.count_nonzero(counts >= SELDOM))
    if size - frequent <= MOST_SELDOM * size:
        return None
    smaller = max(512, 1 << max(0, frequent.bit_length() - 1))
    advice = f"try --tokenizer bpe --vocab_size {smaller}, or char" if smaller < size else "try char"
    return (
        f"tokenizer: {size - frequent:,} of its {size:,} tokens occur fewer than {SELDOM} times in the training text, "
        f"so little can be learned of them; {advice}"
    )
