"""What a tokenizer is, and how one is saved and loaded."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from clearhead import registry
from clearhead.errors import TokenizerError

Ids = npt.NDArray[np.integer[Any]]
"""(n,) token ids; uint16 while the vocabulary fits, else uint32."""

UNKNOWN_GLYPH = "\N{REPLACEMENT CHARACTER}"
"""What an unknown token decodes to."""


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back. Ids are 0 .. vocab_size - 1; the special ones, where they exist, come last."""

    name: str
    vocab_size: int
    eot_id: int | None
    """End-of-text: stands between documents. None when the corpus is one document."""
    unk_id: int | None
    """Stands for what training text never showed. None when nothing can be unknown or none was asked for."""

    @classmethod
    def train(cls, texts: Iterable[str], *, eot: bool = False, unk: bool = False) -> Self:
        """Learn the vocabulary from training text, with the special tokens asked for; more options are its own."""
        ...

    def encode(self, text: str) -> Ids:
        """Ids of a text; TokenizerError names the first character that has none."""
        ...

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids; end-of-text decodes to nothing, unknown to U+FFFD."""
        ...

    def decode_bytes(self, ids: Sequence[int] | Ids) -> bytes:
        """The UTF-8 bytes of ids: for streaming, where a character may come in several tokens."""
        ...

    def unknown(self, text: str) -> list[str]:
        """The distinct pieces of a text outside the vocabulary, in order of appearance."""
        ...

    def hidden_characters(self, text: str) -> int:
        """How many characters of a text would be hidden behind unknown tokens."""
        ...

    def token_text(self, token_id: int) -> str:
        """One token as a person reads it (special tokens by name, such as <|endoftext|>)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """All that is needed to rebuild it, as JSON values, with its `name`."""
        ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; TokenizerError when the values make no tokenizer."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict`, 64 hex digits."""
        ...


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds every id of a vocabulary.

    >>> token_dtype(65).__name__, token_dtype(65_537).__name__
    ('uint16', 'uint32')
    """
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The UTF-8 bytes of every token (V), in the order of ids."""
    return [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)]


def fingerprint(data: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a tokenizer's `to_dict`."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer as JSON."""
    path.write_text(json.dumps(tokenizer.to_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer back; TokenizerError when the file is missing or makes no tokenizer."""
    data = _read(path)
    name = data.get("name")
    if name not in (known := registry.names("tokenizers")):
        raise TokenizerError(f"{path} holds none of the tokenizers {', '.join(known)}; use one that clearhead wrote")
    return registry.resolve("tokenizers", name).from_dict(data)


def open_tokenizer(path: Path, *, eot: bool = False) -> Tokenizer:
    """A tokenizer that a user names: one that clearhead wrote, or a tokenizer.json of Hugging Face's format.

    The latter has an end-of-text where `eot` asks for it. TokenizerError says in one line why a file is none.
    """
    data = _read(path)
    return registry.resolve("tokenizers", "bpe").of_document(data, eot=eot) if "model" in data else load_tokenizer(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is no tokenizer file ({error}); use one that clearhead wrote") from None
    if not isinstance(data, dict):
        raise TokenizerError(f"{path} is no tokenizer file (it holds no object); use one that clearhead wrote")
    return data
