"""One id per word, with the space before it: after "I love" comes " dogs"."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, repeat
from typing import Any, Self

import numpy as np

from clearhead.errors import TokenizerError
from clearhead.tokenizers.base import UNKNOWN_GLYPH, Ids, fingerprint, token_dtype
from clearhead.tokenizers.pieces import pieces
from clearhead.tokenizers.special import (
    EOT_NAME,
    UNK_NAME,
    checked_fields,
    checked_ids,
    glyphs,
    special_ids,
    utf8,
)


class WordTokenizer:
    """Words, numbers, punctuation, line ends and white space, the most frequent first; text comes back exactly.

    >>> tokenizer = WordTokenizer.train(["I love dogs, I love cats"])
    >>> tokenizer.words
    (' love', ' I', ' cats', ' dogs', ',', 'I')
    >>> tokenizer.encode("I love cats").tolist()
    [5, 0, 2]

    With `lowercase`, text is read in lower case, and comes back so.
    Raises TokenizerError when `words` are none, empty, not unique, or hold a lone surrogate.
    """

    name: str = "word"

    def __init__(self, words: Sequence[str], *, eot: bool = False, unk: bool = False, lowercase: bool = False) -> None:
        self.words = tuple(words)
        if not self.words:
            raise TokenizerError("a word tokenizer needs at least one word; train it on a text")
        if not all(isinstance(word, str) and word for word in self.words):
            raise TokenizerError("the words of a word tokenizer are texts of at least one character; train again")
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            raise TokenizerError("the words of a word tokenizer are unique, these are not; train again")
        utf8("".join(self.words))
        self.lowercase = lowercase
        self.vocab_size, self.eot_id, self.unk_id = special_ids(len(self.words), eot=eot, unk=unk)
        self._absent = self.vocab_size if self.unk_id is None else self.unk_id

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        eot: bool = False,
        unk: bool = False,
        vocab_size: int | None = None,
        lowercase: bool = False,
    ) -> Self:
        """The words of the texts by frequency, then by text.

        `vocab_size` counts all ids, the special ones too; when it is smaller than what occurs, the most frequent
        words stay and the rest are unknown. TokenizerError when it leaves no room for a word.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            for batch in pieces(text.lower() if lowercase else text):
                counts.update(batch)
        words = sorted(counts, key=lambda word: (-counts[word], word))
        if vocab_size is not None and len(words) + eot + unk > vocab_size:
            unk = True
            words = words[: max(0, vocab_size - eot - unk)]
            if not words:
                raise TokenizerError(f"vocab_size={vocab_size} leaves no room for a word; try {eot + unk + 100}")
        return cls(words, eot=eot, unk=unk, lowercase=lowercase)

    def encode(self, text: str) -> Ids:
        """Ids (n,), one per piece; TokenizerError names the first piece that has none."""
        dtype = token_dtype(self.vocab_size + 1)
        parts = [np.empty(0, dtype)]
        for batch in self._pieces(text):
            ids = np.fromiter(map(self._ids.get, batch, repeat(self._absent)), dtype, count=len(batch))
            if self.unk_id is None and (ids == self._absent).any():
                self._refuse(text)
            parts.append(ids)
        return np.concatenate(parts).astype(token_dtype(self.vocab_size), copy=False)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids; end-of-text decodes to nothing, unknown to U+FFFD."""
        return "".join(map(self._decoded.__getitem__, checked_ids(ids, self.vocab_size).tolist()))

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The UTF-8 bytes of ids."""
        return self.decode(ids).encode()

    def unknown(self, text: str) -> list[str]:
        """The distinct pieces of a text outside the vocabulary, in order of appearance."""
        return list(dict.fromkeys(self._outside(text)))

    def hidden_characters(self, text: str) -> int:
        """How many characters the pieces outside the vocabulary have, the space before a word included."""
        return sum(map(len, self._outside(text)))

    def token_text(self, token_id: int) -> str:
        """One token as a person reads it, white space as a glyph."""
        (token_id,) = checked_ids([token_id], self.vocab_size).tolist()
        if token_id < len(self.words):
            return glyphs(self.words[token_id])
        return EOT_NAME if token_id == self.eot_id else UNK_NAME

    def to_dict(self) -> dict[str, Any]:
        """Words, which special tokens there are, and the case."""
        return {
            "name": self.name,
            "words": list(self.words),
            "eot": self.eot_id is not None,
            "unk": self.unk_id is not None,
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; TokenizerError when the values make no tokenizer."""
        return cls(**checked_fields(data, cls.name, {"words": list, "eot": bool, "unk": bool, "lowercase": bool}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`."""
        return fingerprint(self.to_dict())

    @cached_property
    def _decoded(self) -> tuple[str, ...]:
        special = {self.eot_id: "", self.unk_id: UNKNOWN_GLYPH}
        return (*self.words, *(special[i] for i in range(len(self.words), self.vocab_size)))

    def _pieces(self, text: str) -> Iterator[list[str]]:
        return pieces(text.lower() if self.lowercase else text)

    def _outside(self, text: str) -> Iterator[str]:
        return (piece for piece in chain.from_iterable(self._pieces(text)) if piece not in self._ids)

    def _refuse(self, text: str) -> None:
        offset = 0
        for piece in chain.from_iterable(self._pieces(text)):
            if piece not in self._ids:
                raise TokenizerError(
                    f"{piece!r} at offset {offset} is not among the vocabulary's {len(self.words)} words; "
                    "remove it, or train with --unk"
                )
            offset += len(piece)
