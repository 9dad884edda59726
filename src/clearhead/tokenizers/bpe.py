"""Byte-level BPE: frequent strings of bytes are tokens, learned from the text, and every text comes back exactly.

Sennrich, Haddow & Birch 2016 ("Neural machine translation of rare words with subword units", section 3.2), over bytes;
Hugging Face's `tokenizers` learns and encodes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Self

import numpy as np
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from clearhead.config import BPE_VOCAB_SIZE
from clearhead.errors import TokenizerError
from clearhead.tokenizers.base import Ids, fingerprint, token_dtype
from clearhead.tokenizers.bytelevel import ALPHABET, Json, parsed, read_document, with_eot
from clearhead.tokenizers.special import SURROGATE, checked_ids, glyphs, utf8

PIECES = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word with what stands right before it
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, with the line ends after it
    r"|\s*[\r\n]+"  # a line end is the end of a token, so lines begin with one
    r"|\s+(?!\S)|\s+"  # the last space is left to the word
)
"""No token reaches across these, the pieces of OpenAI's cl100k_base."""
LEAST_PAIRS = 2
"""Times a pair must occur to become a token: what was seen once is learned by heart."""

_PART = 1 << 15
"""Characters handed to the library as one text: it keeps some 100 bytes for each."""
_BATCH = 64
"""Texts handed over together: shared among the processor's cores."""
_WORD_END = re.compile(r"(?<=[^\W_])\s")
_NEAR = 64
"""Characters on either side of a place that say whether a piece ends there."""


class BPETokenizer:
    """Ids of learned strings of bytes; nothing is unknown, and end-of-text comes last where there is need.

    >>> tokenizer = BPETokenizer.train(["I love dogs, I love cats"] * 2, vocab_size=270)
    >>> [tokenizer.token_text(i) for i in tokenizer.encode("I love cats")]
    ['I', '·love', '·cats']

    `document` is a byte-level tokenizer.json, parsed; TokenizerError says in one line why another is refused.
    """

    name: str = "bpe"

    def __init__(self, document: Json, *, eot_id: int | None = None) -> None:
        self._told = read_document(document)
        self.vocab_size, self.eot_id = len(self._told.tokens), eot_id
        self.unk_id: int | None = None
        if eot_id is not None and eot_id not in self._told.special:
            raise TokenizerError(f"end-of-text {eot_id} is no special token of the bpe tokenizer; train it again")

    @classmethod
    def train(
        cls, texts: Iterable[str], *, eot: bool = False, unk: bool = False, vocab_size: int = BPE_VOCAB_SIZE
    ) -> Self:
        """The most frequent pairs, joined one after another until there are `vocab_size` ids, end-of-text included.

        Fewer where no pair occurs twice. Texts are read once, one at a time; what stays in memory is the
        distinct pieces. There is no use for an unknown token. TokenizerError when 256 bytes do not fit.
        """
        if vocab_size < (least := len(ALPHABET) + eot):
            raise TokenizerError(f"vocab_size={vocab_size} is less than the {least} ids of single bytes; try 512")
        library = Library(models.BPE())
        splitter = pre_tokenizers.Split(Regex(PIECES), "isolated")
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([splitter, bytes_])  # type: ignore[assignment]
        library.decoder = decoders.ByteLevel()  # type: ignore[assignment]
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - eot,
            min_frequency=LEAST_PAIRS,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        library.train_from_iterator((part for text in texts for part in _parts(_checked(text), _cuts)), trainer)
        return cls.of_document(parsed(library.to_str()), eot=eot)

    @classmethod
    def of_document(cls, document: Any, *, eot: bool = False) -> Self:
        """The tokenizer of a tokenizer.json; `eot` asks for its own end-of-text, or for one behind its ids."""
        told = read_document(document)
        if not eot:
            return cls(told.document)
        if told.eot_id is not None:
            return cls(told.document, eot_id=told.eot_id)
        return cls(with_eot(told.document), eot_id=len(told.tokens))

    def encode(self, text: str) -> Ids:
        """Ids (n,); TokenizerError for a lone surrogate, which has no UTF-8 form."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids (n,) of each of several texts, which go to the library together; as `encode`."""
        dtype, library = token_dtype(self.vocab_size), self._told.library
        found = [[np.empty(0, dtype)] for _ in texts]
        parts = ((at, part) for at, text in enumerate(texts) for part in _parts(_checked(text), self._cuts))
        while batch := list(islice(parts, _BATCH)):
            encoded = library.encode_batch_fast([part for _, part in batch], add_special_tokens=False)
            for (at, _), each in zip(batch, encoded, strict=True):
                found[at].append(np.array(each.ids, dtype))
        return [np.concatenate(ids) for ids in found]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids; bytes that are no UTF-8 decode to U+FFFD, special tokens to nothing."""
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The bytes of ids: a token may end within a character."""
        return b"".join(map(self._told.tokens.__getitem__, checked_ids(ids, self.vocab_size).tolist()))

    def unknown(self, text: str) -> list[str]:
        """The distinct lone surrogates of a text: all that UTF-8 cannot say."""
        return list(dict.fromkeys(SURROGATE.findall(text)))

    def hidden_characters(self, text: str) -> int:
        """How many lone surrogates a text holds."""
        return len(SURROGATE.findall(text))

    def token_text(self, token_id: int) -> str:
        """One token as a person reads it; where it is no whole characters, its bytes, such as <0xE2><0x80>."""
        (token_id,) = checked_ids([token_id], self.vocab_size).tolist()
        if token_id in self._told.special:
            return glyphs(self._told.special[token_id])
        piece = self._told.tokens[token_id]
        try:
            shown = glyphs(piece.decode())
        except UnicodeDecodeError:
            shown = ""
        return shown if shown and "\\x" not in shown else "".join(f"<0x{byte:02X}>" for byte in piece)

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer.json that any reader of the format understands, and which id is end-of-text here."""
        return {"name": self.name, "eot_id": self.eot_id, "tokenizer": self._told.document}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; TokenizerError when the values make no tokenizer."""
        if (
            not isinstance(data, Mapping)
            or data.get("name") != cls.name
            or set(data) != {"name", "eot_id", "tokenizer"}
        ):
            raise TokenizerError("this is no bpe tokenizer; use a file that clearhead wrote")
        if type(data["eot_id"]) not in (int, type(None)):
            raise TokenizerError("'eot_id' of the bpe tokenizer is no id; use a file that clearhead wrote")
        return cls(data["tokenizer"], eot_id=data["eot_id"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.to_dict())

    def _cuts(self, text: str, start: int) -> Iterator[int]:
        """Where, from a place on, the library ends a piece; nowhere, if it looks for added tokens before it cuts."""
        if len(self._told.special) < len(self._told.document["added_tokens"]):
            return
        splitter = self._told.library.pre_tokenizer
        assert splitter is not None
        for cut in _cuts(text, start):
            near = max(0, cut - _NEAR)
            if any(near + end == cut for _, (_, end) in splitter.pre_tokenize_str(text[near : cut + _NEAR])):
                yield cut


def _checked(text: str) -> str:
    if not text.isascii():
        utf8(text)
    return text


def _cuts(text: str, start: int) -> Iterator[int]:
    """Where, from a place on, a word ends: there `PIECES` end, for none has anything behind a letter or a digit."""
    return (found.start() for found in _WORD_END.finditer(text, start))


def _parts(text: str, cuts: Callable[[str, int], Iterator[int]]) -> Iterator[str]:
    """A text in parts that give the ids of the whole: each ends where a piece does."""
    start = 0
    while start < len(text):
        end = next(cuts(text, start + _PART), len(text))
        yield text[start:end]
        start = end
