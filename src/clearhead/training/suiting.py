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
LEAST_CHARACTERS, MOST_CHARACTERS = 300_000, 2_000_000
"""The texts that were measured on had 0.5 and 1.1 million; nothing is said of much shorter or longer ones."""
FEW_EPOCHS = 1.2
"""By characters, the texts were read 0.4 and 1.05 times."""
BEST_SIZE = 512
"""Of the vocabularies that were measured on them, the one that did best."""


def tokenizer_hints(tokenizer: Tokenizer, data: TokenDataset, train: TrainConfig) -> Iterator[str]:
    """Lines for a run that was planned; none where nothing that was measured speaks against its tokenizer."""
    ids, characters = data.ids("train"), data.meta.characters["train"]
    read = train.max_iters * train.batch_size * train.block_size / len(ids)
    if LEAST_CHARACTERS <= characters < MOST_CHARACTERS:
        measured = "(docs/tokenizers.md: texts of 0.5 and 1.1 million characters, equal time, three seeds)"
        if tokenizer.name == "char" and read < FEW_EPOCHS:
            yield (
                f"tokenizer: in this time the text is read {read:.1f} times; --tokenizer bpe --vocab_size {BEST_SIZE} "
                f"left the GPT 0.13 to 0.15 bits per character lower, its mixture 0.00 to 0.02 {measured}"
            )
        if tokenizer.name == "bpe" and tokenizer.vocab_size >= 4 * BEST_SIZE:
            yield (
                f"tokenizer: --vocab_size {BEST_SIZE} suits this text better; beside 4,096 it left the GPT "
                f"0.04 to 0.12 bits per character lower, its mixture 0.06 to 0.12 {measured}"
            )
    if tokenizer.name in ("word", "bpe") and (line := _seldom(_occurrences(data, tokenizer.vocab_size))):
        yield line


def _occurrences(data: TokenDataset, vocab_size: int) -> np.ndarray:
    """How often (V,) each token occurs in the training text."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for piece in data.pieces("train"):
        counts += np.bincount(piece, minlength=vocab_size)
    return counts


def _seldom(counts: np.ndarray) -> str | None:
    """A line where most of a vocabulary (V,) occurs too seldom to be learned; else None."""
    size, frequent = len(counts), int(np.count_nonzero(counts >= SELDOM))
    if size - frequent <= MOST_SELDOM * size:
        return None
    smaller = max(BEST_SIZE, 1 << max(0, frequent.bit_length() - 1))
    advice = f"try --tokenizer bpe --vocab_size {smaller}, or char" if smaller < size else "try char"
    return (
        f"tokenizer: {size - frequent:,} of its {size:,} tokens occur fewer than {SELDOM} times in the training text, "
        f"so little can be learned of them; {advice}"
    )
