"""Which tokenizer suits a text and a budget: a line where something that was measured says that another would do better.

What was measured: benchmarks/vocabularies.py, told in docs/tokenizers.md.
"""

from collections.abc import Iterator

import numpy as np

from clearhead.config import BPE_VOCAB_SIZE, TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.tokenizers.base import Tokenizer

SELDOM, MOST_SELDOM = 10, 0.5
"""A token that occurs fewer times teaches little; so does a vocabulary of which more than this share is such."""
FEW_EPOCHS, LEAST_CHARACTERS = 1.2, 400_000
"""Below so many readings of so long a text, BPE was seen to help a GPT."""


def tokenizer_hints(tokenizer: Tokenizer, data: TokenDataset, train: TrainConfig) -> Iterator[str]:
    """Lines for a run that was planned; none where nothing speaks against its tokenizer."""
    ids = data.ids("train")
    epochs = train.max_iters * train.batch_size * train.block_size / len(ids)
    if tokenizer.name == "char" and epochs < FEW_EPOCHS and data.meta.characters["train"] >= LEAST_CHARACTERS:
        yield (
            f"tokenizer: in this time the GPT reads {epochs:.1f} times the text, by characters. Where that was measured, "
            f"with --tokenizer bpe (--vocab_size {BPE_VOCAB_SIZE}) it ended 0.1 to 0.3 bits per character lower alone; in the "
            "mixture with the n-gram characters stayed as good or better"
        )
    if tokenizer.name in ("word", "bpe") and (line := _seldom(np.bincount(ids, minlength=tokenizer.vocab_size))):
        yield line


def _seldom(counts: np.ndarray) -> str | None:
    """A line where most of a vocabulary (V,) occurs too seldom to be learned; else None."""
    frequent = int(np.count_nonzero(counts >= SELDOM))
    if len(counts) - frequent <= MOST_SELDOM * len(counts):
        return None
    return (
        f"tokenizer: {len(counts) - frequent:,} of its {len(counts):,} tokens occur fewer than {SELDOM} times in the training "
        f"text, so little can be learned of them; --tokenizer bpe --vocab_size {_rounded(frequent)}, or char, suits it better"
    )


def _rounded(frequent: int) -> int:
    """A power of two not above a number of tokens, 512 at least.

    >>> _rounded(3_000), _rounded(40)
    (2048, 512)
    """
    return max(512, 1 << max(0, frequent.bit_length() - 1))
