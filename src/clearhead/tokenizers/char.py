"""One id per character: the lecture's tokenizer, vectorised."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from clearhead.errors import TokenizerError
from clearhead.tokenizers.base import UNKNOWN_GLYPH, Ids, fingerprint, token_dtype
from clearhead.tokenizers.special import (
    EOT_NAME,
    UNK_NAME,
    checked_fields,
    checked_ids,
    glyphs,
    named_character,
    special_ids,
    utf8,
)

_CHUNK = 1 << 18
"""Characters looked up at a time: the arrays in between stay in the processor's cache (measured: the fastest)."""
_NOT_THERE = 255
"""In the table of ASCII: no id. Free, because sorting gives the 128 ASCII characters the lowest ids."""
_CODE_POINTS = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"


class CharTokenizer:
    """Sorted unique characters are ids 0 .. V - 1; end-of-text and unknown follow where there is need.

    >>> tokenizer = CharTokenizer.train(["hello world"])
    >>> tokenizer.characters, tokenizer.encode("hello").tolist(), tokenizer.decode([3, 2, 4])
    (' dehlorw', [3, 2, 4, 4, 5], 'hel')

    Raises TokenizerError when `characters` are none, not sorted, not unique, or hold a lone surrogate.
    """

    name: str = "char"

    def __init__(self, characters: str, *, eot: bool = False, unk: bool = False) -> None:
        if not characters:
            raise TokenizerError("a char tokenizer needs at least one character; train it on a text")
        if characters != "".join(sorted(set(characters))):
            raise TokenizerError("the characters of a char tokenizer are sorted and unique, these are not; train again")
        utf8(characters)
        self.characters = characters
        self.vocab_size, self.eot_id, self.unk_id = special_ids(len(characters), eot=eot, unk=unk)
        self._absent = self.vocab_size if self.unk_id is None else self.unk_id
        codes = _code_points(characters)
        self._table = np.full(int(codes[-1]) + 2, self._absent, dtype=token_dtype(self.vocab_size + 1))
        self._table[codes] = np.arange(len(codes))
        ascii_ids = dict(zip(codes[codes < 128].tolist(), range(128), strict=False))
        self._ascii = bytes(ascii_ids.get(code, _NOT_THERE) for code in range(256))

    @classmethod
    def train(cls, texts: Iterable[str], *, eot: bool = False, unk: bool = False) -> Self:
        """The tokenizer of the characters that occur in the texts."""
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls("".join(sorted(seen)), eot=eot, unk=unk)

    def encode(self, text: str) -> Ids:
        """Ids (len(text),); TokenizerError names the first character that has none."""
        ids = np.empty(len(text), dtype=token_dtype(self.vocab_size))
        start = 0
        for chunk in _chunks(text):
            found = self._look_up(chunk)
            if self.unk_id is None and (found == self._absent).any():
                self._refuse(text, start + int(np.argmax(found == self._absent)))
            ids[start : start + len(chunk)] = found
            start += len(chunk)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids (n,) of each of several texts, looked up together: many short ones cost what a long one does."""
        ids = self.encode("".join(texts))
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64).tolist()
        return [ids[end - len(text) : end] for text, end in zip(texts, ends, strict=True)]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids; end-of-text decodes to nothing, unknown to U+FFFD."""
        checked = checked_ids(ids, self.vocab_size)
        if self.eot_id is not None:
            checked = checked[checked != self.eot_id]
        parts = range(0, len(checked), _CHUNK)
        return "".join(self._decoded[checked[i : i + _CHUNK]].tobytes().decode(_CODE_POINTS) for i in parts)

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The UTF-8 bytes of ids."""
        return self.decode(ids).encode()

    def unknown(self, text: str) -> list[str]:
        """The distinct characters of a text outside the vocabulary, in order of appearance."""
        pieces: dict[str, None] = {}
        for chunk in _chunks(text):
            absent = np.flatnonzero(self._look_up(chunk) == self._absent)
            pieces.update(dict.fromkeys(chunk[i] for i in absent))
        return list(pieces)

    def hidden_characters(self, text: str) -> int:
        """How many characters of a text are outside the vocabulary."""
        return sum(int(np.count_nonzero(self._look_up(chunk) == self._absent)) for chunk in _chunks(text))

    def token_text(self, token_id: int) -> str:
        """One token as a person reads it, white space as a glyph."""
        (token_id,) = checked_ids([token_id], self.vocab_size).tolist()
        if token_id < len(self.characters):
            return glyphs(self.characters[token_id])
        return EOT_NAME if token_id == self.eot_id else UNK_NAME

    def to_dict(self) -> dict[str, Any]:
        """Characters and which special tokens there are."""
        eot, unk = self.eot_id is not None, self.unk_id is not None
        return {"name": self.name, "characters": self.characters, "eot": eot, "unk": unk}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; TokenizerError when the values make no tokenizer."""
        return cls(**checked_fields(data, cls.name, {"characters": str, "eot": bool, "unk": bool}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`."""
        return fingerprint(self.to_dict())

    @cached_property
    def _decoded(self) -> npt.NDArray[np.uint32]:
        """(vocab_size,) code points; that of end-of-text is never looked up."""
        return _code_points(self.characters + UNKNOWN_GLYPH * (self.vocab_size - len(self.characters)))

    def _look_up(self, chunk: str) -> Ids:
        """Ids (len(chunk),), `_absent` where the vocabulary lacks the character."""
        if not chunk.isascii():
            return self._table[np.minimum(_code_points(chunk), len(self._table) - 1)]
        translated = chunk.encode().translate(self._ascii)
        ids = np.frombuffer(translated, dtype=np.uint8).astype(self._table.dtype)
        if _NOT_THERE in translated:
            ids[ids == _NOT_THERE] = self._absent
        return ids

    def _refuse(self, text: str, offset: int) -> None:
        raise TokenizerError(
            f"{named_character(text[offset])} at offset {offset} is not among the vocabulary's "
            f"{len(self.characters)} characters; remove it, or train with --unk"
        )


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode(_CODE_POINTS, "surrogatepass"), dtype=np.uint32)


def _chunks(text: str) -> Iterator[str]:
    return (text[i : i + _CHUNK] for i in range(0, len(text), _CHUNK))
