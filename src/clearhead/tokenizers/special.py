"""The tokens that stand for no text, and the checks that every tokenizer makes on what it is given."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clearhead.errors import TokenizerError
from clearhead.tokenizers.base import Ids

EOT_NAME = "<|endoftext|>"
UNK_NAME = "<|unknown|>"

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a UTF-16 pair: Python's str can hold one, UTF-8 cannot."""


def special_ids(size: int, *, eot: bool, unk: bool) -> tuple[int, int | None, int | None]:
    """(vocab_size, eot_id, unk_id) when the special tokens follow `size` ordinary ones.

    >>> special_ids(65, eot=True, unk=True), special_ids(65, eot=False, unk=True)
    ((67, 65, 66), (66, None, 65))
    """
    return size + eot + unk, size if eot else None, size + eot if unk else None


def checked_ids(ids: Sequence[int] | Ids, vocab_size: int) -> Ids:
    """ids as an array (n,); TokenizerError when one is no id of the vocabulary."""
    try:
        array = np.asarray(ids)
    except ValueError:
        raise TokenizerError("token ids of unequal length make no sequence; decode one row at a time") from None
    if array.size == 0:
        return np.empty(0, dtype=np.uint16)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TokenizerError(f"token ids are one row of integers, not {array.dtype} {array.shape}; decode one row")
    worst = array.max() if array.max() >= vocab_size else array.min()
    if not 0 <= worst < vocab_size:
        raise TokenizerError(
            f"id {worst} is outside 0 .. {vocab_size - 1}; use the tokenizer that belongs to the model"
        )
    return array


def checked_fields(data: Any, name: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The fields of a tokenizer's `to_dict`, each of its kind; TokenizerError when one is not."""
    if not isinstance(data, Mapping) or data.get("name") != name:
        raise TokenizerError(f"this is no {name} tokenizer; use a file that clearhead wrote")
    for field, kind in kinds.items():
        if type(data.get(field)) is not kind:
            raise TokenizerError(
                f"'{field}' of the {name} tokenizer is {_short(data.get(field))}, not {kind.__name__}; "
                "use a file that clearhead wrote"
            )
    if odd := set(data) - set(kinds) - {"name"}:
        raise TokenizerError(
            f"the {name} tokenizer has an unknown field {_short(min(odd, key=str))}; upgrade clearhead"
        )
    return {field: data[field] for field in kinds}


def utf8(text: str) -> bytes:
    """The UTF-8 bytes of a text; TokenizerError for a lone surrogate, which has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"{named_character(text[error.start])} at offset {error.start} is a lone surrogate, not text; "
            "remove it, or put U+FFFD in its place"
        ) from None


def named_character(character: str) -> str:
    """A character as errors name it.

    >>> named_character("é")
    "'é' (U+00E9)"
    """
    return f"{character!r} (U+{ord(character):04X})"


def glyphs(text: str) -> str:
    """A text in which white space shows, and what cannot be printed is escaped.

    >>> glyphs(" dogs\\n\\x00")
    '·dogs↵\\\\x00'
    """
    shown = text.translate({ord(" "): "·", ord("\n"): "↵", ord("\r"): "␍", ord("\t"): "⇥"})
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:40] + " ..."
