"""What a byte-level tokenizer.json says: read, checked and cleaned before any library sees it.

The format is that of Hugging Face's `tokenizers`. Its tokens spell bytes in an alphabet of 256 printable characters,
so every text has ids and comes back exactly (Radford et al. 2019, section 2.2).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Library

from clearhead.errors import TokenizerError
from clearhead.tokenizers.special import EOT_NAME

Json = dict[str, Any]

_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
ALPHABET = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + number): byte for number, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))
}
"""The character that stands for each byte: itself where it can be seen, else one from 256 on."""

EOT_NAMES = (EOT_NAME, "<|end_of_text|>", "</s>", "<eos>")
"""What others call the end of a text."""

_SPLITTERS = {"ByteLevel", "Split", "Digits", "Punctuation"}
_PROBE = "Straße 日本😀\n\n\tdon't  e\u0301 x = 10_000;\r\n  end " + "".join(map(chr, range(1, 256))) + " "
"""What comes back altered where a file leaves out, puts in or rewrites anything."""


@dataclass(frozen=True)
class ByteLevel:
    """A checked tokenizer.json."""

    document: Json
    """Only what says how text becomes ids; the library reads it as it reads the original."""
    tokens: tuple[bytes, ...]
    """(V,) what each id stands for; nothing for the special ones."""
    special: dict[int, str]
    """Ids that no text has, with their names."""
    library: Library
    """Without the special tokens: a text that spells their names is text."""

    @property
    def eot_id(self) -> int | None:
        """The id that the file itself has for the end of a text."""
        ids = {name: token for token, name in self.special.items()}
        return next((ids[name] for name in EOT_NAMES if name in ids), None)


def read_document(document: Any) -> ByteLevel:
    """A tokenizer.json as it was parsed; TokenizerError in one line where it is another kind, or loses text."""
    model, added = _model(document), _added(document)
    special = {token["id"]: token["content"] for token in added if token["special"]}
    tokens = _tokens(model["vocab"], added)
    cleaned = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": document["pre_tokenizer"],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": model,
    }
    found = ByteLevel(cleaned, tokens, special, _library(cleaned))
    _check_round_trip(found)
    return found


def parsed(text: str) -> Any:
    """What the library wrote."""
    return json.loads(text)


def with_eot(document: Json) -> Json:
    """A checked document with an end-of-text behind all its ids."""
    size = len({*document["model"]["vocab"].values(), *(token["id"] for token in document["added_tokens"])})
    return {**document, "added_tokens": [*document["added_tokens"], _added_token(size, EOT_NAME, special=True)]}


def _model(document: Any) -> Json:
    """The model's vocabulary and merges, as the library wants them."""
    if not isinstance(document, Mapping) or not isinstance(model := document.get("model"), Mapping):
        raise _refused("it holds no model")
    if (kind := model.get("type", "BPE")) != "BPE":
        raise _refused(f"its model is {_short(kind)}, not BPE")
    if document.get("normalizer"):
        raise _refused("it normalises text, which then does not come back as it was")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise _refused(f"its model has {name}={_short(model[name])}")
    splitter = document.get("pre_tokenizer")
    if "ByteLevel" not in (kinds := list(_splitters(splitter))):
        raise _refused("its tokens do not spell bytes (no ByteLevel pre-tokenizer)")
    if odd := sorted(set(kinds) - _SPLITTERS):
        raise _refused(f"it cuts text by {odd[0]}, which is not known here")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(token) is int for token in vocab.values()):
        raise _refused("its vocabulary is no table of tokens and ids")
    merges = list(_merges(model.get("merges"), vocab))
    options = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": model.get("ignore_merges") is True}
    plain = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    return {"type": "BPE", **plain, **options, "vocab": vocab, "merges": merges}


def _splitters(splitter: Any) -> Iterator[str]:
    """The kinds of the parts that cut text into pieces."""
    if isinstance(splitter, Mapping):
        parts = splitter.get("pretokenizers")
        if splitter.get("type") == "Sequence" and isinstance(parts, list):
            for part in parts:
                yield _short(part.get("type")).strip("'") if isinstance(part, Mapping) else _short(part)
        else:
            yield _short(splitter.get("type")).strip("'")


def _merges(merges: Any, vocab: Mapping[str, int]) -> Iterator[list[str]]:
    """Pairs of tokens, each and both joined in the vocabulary; older files have them as one text with a space."""
    if not isinstance(merges, list):
        raise _refused("it has no list of merges")
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
            raise _refused(f"its merge {_short(merge)} is no pair of tokens")
        if not {*pair, "".join(pair)} <= vocab.keys():
            raise _refused(f"its merge {_short(merge)} makes no token")
        yield pair


def _added(document: Mapping[str, Any]) -> list[Json]:
    """The tokens that were added to the model's own, by id."""
    added = document.get("added_tokens") or []
    if not isinstance(added, list):
        raise _refused("its added tokens are no list")
    found = []
    for token in added:
        if not isinstance(token, Mapping) or type(token.get("id")) is not int:
            raise _refused(f"its added token {_short(token)} has no id")
        if not isinstance(content := token.get("content"), str) or not content:
            raise _refused(f"its added token {token['id']} has no text")
        found.append(_added_token(token["id"], content, special=token.get("special") is True))
    return sorted(found, key=lambda token: token["id"])


def _added_token(number: int, content: str, *, special: bool) -> Json:
    places = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **places, "special": special}


def _tokens(vocab: Mapping[str, int], added: list[Json]) -> tuple[bytes, ...]:
    """The bytes (V,) of every id."""
    texts = {token["content"]: b"" if token["special"] else token["content"].encode() for token in added}
    ids = {token["content"]: token["id"] for token in added}
    spelled: dict[int, bytes] = {ids[content]: text for content, text in texts.items()}
    for token, number in vocab.items():
        if ids.get(token, number) != number:
            raise _refused(f"its token {_short(token)} has two ids")
        if token in ids:
            continue
        if not token or not ALPHABET.keys() >= set(token):
            raise _refused(f"its token {_short(token)} does not spell bytes")
        spelled[number] = bytes(map(ALPHABET.__getitem__, token))
    if sorted(spelled) != list(range(len({*vocab, *ids}))):
        raise _refused(f"the ids of its {len(spelled):,} tokens are not 0 .. {len(spelled) - 1:,}")
    if absent := [byte for character, byte in ALPHABET.items() if character not in vocab or character in ids]:
        raise _refused(f"it has no token for the byte 0x{min(absent):02X}, so some texts have no ids")
    return tuple(spelled[number] for number in range(len(spelled)))


def _library(cleaned: Json) -> Library:
    """The library's own tokenizer, which does not know the special tokens.

    Their ids are kept by names that no text spells, since it gives the other added tokens the ids that are free.
    """
    model, added = cleaned["model"], cleaned["added_tokens"]
    special = {token["content"]: token["id"] for token in added if token["special"]}
    vocab = {token: number for token, number in model["vocab"].items() if token not in special}
    vocab |= {f"\0{name}": number for name, number in special.items()}
    kept = [token for token in added if not token["special"]]
    told = {**cleaned, "added_tokens": kept, "model": {**model, "vocab": vocab}}
    try:
        return Library.from_str(json.dumps(told))
    except BaseException as error:  # a panic of the library is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise _refused(f"the tokenizers library says: {_short(str(error))}") from None


def _check_round_trip(found: ByteLevel) -> None:
    """TokenizerError where a text does not come back."""
    for text in (_PROBE, "a", " ", "x" + _PROBE):
        back = b"".join(found.tokens[token] for token in found.library.encode(text, add_special_tokens=False).ids)
        if back != text.encode():
            raise _refused("text does not come back as it was")


def _refused(reason: str) -> TokenizerError:
    return TokenizerError(
        f"this tokenizer.json cannot be used: {reason}; give a byte-level BPE such as GPT-2's, or --tokenizer bpe"
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + " ..."
