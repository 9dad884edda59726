"""One id per UTF-8 byte: 256 ids say every text there is."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from clearhead.tokenizers.base import Ids, fingerprint, token_dtype
from clearhead.tokenizers.special import (
    EOT_NAME,
    SURROGATE,
    checked_fields,
    checked_ids,
    glyphs,
    special_ids,
    utf8,
)

_BYTES = 256


class ByteTokenizer:
    """Ids are the bytes of the text's UTF-8; end-of-text is 256 where there is need, nothing is unknown.

    >>> ByteTokenizer().encode("né").tolist(), ByteTokenizer().decode([110, 195, 169])
    ([110, 195, 169], 'né')
    """

    name: str = "byte"

    def __init__(self, *, eot: bool = False) -> None:
        self.vocab_size, self.eot_id, self.unk_id = special_ids(_BYTES, eot=eot, unk=False)

    @classmethod
    def train(cls, texts: Iterable[str], *, eot: bool = False, unk: bool = False) -> Self:
        """There is nothing to learn, and no use for an unknown token: only `eot` counts."""
        return cls(eot=eot)

    def encode(self, text: str) -> Ids:
        """Ids (n,), one per byte; TokenizerError for a lone surrogate, which has no UTF-8 form."""
        return np.frombuffer(utf8(text), dtype=np.uint8).astype(token_dtype(self.vocab_size))

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids; bytes that are no UTF-8 decode to U+FFFD, end-of-text to nothing."""
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The bytes themselves."""
        checked = checked_ids(ids, self.vocab_size)
        return checked[checked < _BYTES].astype(np.uint8).tobytes()

    def unknown(self, text: str) -> list[str]:
        """The distinct lone surrogates of a text: all that UTF-8 cannot say."""
        return list(dict.fromkeys(SURROGATE.findall(text)))

    def hidden_characters(self, text: str) -> int:
        """How many lone surrogates a text holds."""
        return len(SURROGATE.findall(text))

    def token_text(self, token_id: int) -> str:
        """One byte as a person reads it: ASCII as it is, the others as <0xE2>.

        >>> ByteTokenizer().token_text(10), ByteTokenizer().token_text(226)
        ('↵', '<0xE2>')
        """
        (token_id,) = checked_ids([token_id], self.vocab_size).tolist()
        if token_id == self.eot_id:
            return EOT_NAME
        character = glyphs(chr(token_id))
        return character if token_id < 128 and len(character) == 1 else f"<0x{token_id:02X}>"

    def to_dict(self) -> dict[str, Any]:
        """Whether there is an end-of-text."""
        return {"name": self.name, "eot": self.eot_id is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; TokenizerError when the values make no tokenizer."""
        return cls(**checked_fields(data, cls.name, {"eot": bool}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`."""
        return fingerprint(self.to_dict())
