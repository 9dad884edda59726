"""How a tokenizer cuts a text: its pieces, how many there are for what was said, and how much of the vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearhead.tokenizers.base import Tokenizer

SHOWN_TOKENS = 400
"""Pieces that are told, from the beginning of the text."""
SELDOM = 10
"""Fewer occurrences than this teach a model little of a token."""
EXAMPLES = 12


@dataclass(frozen=True)
class Piece:
    """One token of a text."""

    id: int
    text: str
    """As a person reads it, white space visible."""


@dataclass(frozen=True)
class VocabularyUse:
    """Which of a vocabulary's entries a text uses; end-of-text and unknown are not counted among them."""

    entries: int
    used: int
    seldom: int
    """Of the used, those that occur fewer than 10 times."""
    most: tuple[tuple[str, int], ...]
    """The most frequent, and how often."""
    longest: tuple[str, ...]
    """The longest that occur."""


@dataclass(frozen=True)
class Fertility:
    """What a tokenizer makes of a text."""

    tokenizer: str
    vocab_size: int
    tokens: int
    characters: int
    bytes: int
    """Of UTF-8."""
    words: int
    """What white space separates."""
    hidden: int
    """Characters behind unknown tokens."""
    pieces: tuple[Piece, ...]
    """The first ones."""
    use: VocabularyUse

    @property
    def characters_per_token(self) -> float:
        """Higher means fewer tokens to predict for the same text."""
        return self.characters / max(1, self.tokens)

    @property
    def bytes_per_token(self) -> float:
        """The same in UTF-8 bytes."""
        return self.bytes / max(1, self.tokens)

    @property
    def tokens_per_word(self) -> float:
        """The figure that is called fertility."""
        return self.tokens / max(1, self.words)


def fertility(tokenizer: Tokenizer, documents: Sequence[str]) -> Fertility:
    """Cut documents into tokens and count; TokenizerError where one has a piece that the tokenizer lacks."""
    counts = np.zeros(tokenizer.vocab_size, dtype=np.int64)
    first: list[int] = []
    for document in documents:
        ids = tokenizer.encode(document)
        counts += np.bincount(ids, minlength=tokenizer.vocab_size)
        first += ids[: max(0, SHOWN_TOKENS - len(first))].tolist()
    return Fertility(
        tokenizer=tokenizer.name,
        vocab_size=tokenizer.vocab_size,
        tokens=int(counts.sum()),
        characters=sum(map(len, documents)),
        bytes=sum(len(document.encode("utf-8", "surrogatepass")) for document in documents),
        words=sum(len(document.split()) for document in documents),
        hidden=sum(map(tokenizer.hidden_characters, documents)),
        pieces=tuple(Piece(token, tokenizer.token_text(token)) for token in first),
        use=_use(tokenizer, counts),
    )


def _use(tokenizer: Tokenizer, counts: np.ndarray) -> VocabularyUse:
    special = [token for token in (tokenizer.eot_id, tokenizer.unk_id) if token is not None]
    counts[special] = 0
    used = np.flatnonzero(counts)
    by_count = used[np.argsort(-counts[used], kind="stable")][:EXAMPLES].tolist()
    by_length = sorted(used.tolist(), key=lambda token: (-len(tokenizer.decode_bytes([token])), token))[:EXAMPLES]
    return VocabularyUse(
        entries=tokenizer.vocab_size - len(special),
        used=len(used),
        seldom=int(np.count_nonzero(counts[used] < SELDOM)),
        most=tuple((tokenizer.token_text(token), int(counts[token])) for token in by_count),
        longest=tuple(map(tokenizer.token_text, by_length)),
    )
