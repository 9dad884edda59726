"""A text divided into what is learned from, what decides, and what only judges; with fingerprints."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from clearhead.config import (
    DEV_FRACTION,
    MIN_SPLIT_CHARACTERS,
    MOST_DEV_CHARACTERS,
    MOST_VAL_CHARACTERS,
    VAL_FRACTION,
    DataConfig,
    TokenizerConfig,
)
from clearhead.data.sources import Source, read_source

SPLIT_SEED = 1337
"""Fixed: which documents are validated on is a property of the text, not of a run."""
MANY_DOCUMENTS = 20
"""From this many on, whole documents are split; below, each one by position."""

_CHUNK = 1 << 20
_SEED = SPLIT_SEED.to_bytes(8, "big")

NO_VAL = "no validation possible, these are training numbers: the text is too short, or its documents too alike"
NO_DEV = "too short for a dev split: order, patience and best are decided on no text of their own"


@dataclass(frozen=True)
class Corpus:
    """Documents of each split. `train` holds all training text: `fit`, which gradients see, and `dev`."""

    name: str
    train: tuple[str, ...]
    fit: tuple[str, ...]
    dev: tuple[str, ...]
    val: tuple[str, ...]
    paths: tuple[str, ...]
    """What `read_corpus` needs to find the text again; () for standard input."""
    sha256: str
    """Of one document's UTF-8 bytes (as sha256sum gives for a plain file), or over the digests of several."""
    val_sha256: str
    """The same of the validation documents; "" when there are none."""
    separated: bool
    """More than one document, so end-of-text stands between them."""
    notices: tuple[str, ...]
    """What the user should know, a line each."""


def read_corpus(corpus: Sequence[str], data: DataConfig, tokenizer: TokenizerConfig) -> Corpus:
    """Read, lower the case where the tokenizer asks for it (so that fingerprints differ), and split."""
    source = read_source(corpus, data)
    if tokenizer.lowercase:
        source = replace(source, documents=tuple(document.lower() for document in source.documents))
    return split(source)


def split(source: Source) -> Corpus:
    """Divide documents into training, dev and validation text, always in the same way.

    Fewer than 20 documents: the last 10 % of each validates, the last 2 % of its training part is dev; where that
    would be more than 10 and 2 million characters in all, that many. More documents: as much, but whole documents,
    ordered by a hash of their text, so that equal documents share a split, and a list that was sorted tells nothing
    of a document by its neighbours. A split that would be shorter than 50 characters is not made, and a notice says
    so.
    """
    documents, by = source.documents, _by_position
    if len(documents) >= MANY_DOCUMENTS:
        ranks = {document: rank(document) for document in set(documents)}
        documents, by = tuple(sorted(documents, key=ranks.__getitem__)), _by_document
    notices = list(source.notices)
    train, val = by(documents, VAL_FRACTION, MOST_VAL_CHARACTERS)
    if not val:
        notices.append(NO_VAL)
    fit, dev = by(train, DEV_FRACTION, MOST_DEV_CHARACTERS)
    if not dev:
        notices.append(NO_DEV)
    return Corpus(
        name=source.name,
        train=train,
        fit=fit,
        dev=dev,
        val=val,
        paths=source.paths,
        sha256=text_sha256(source.documents),
        val_sha256=text_sha256(val) if val else "",
        separated=len(source.documents) > 1,
        notices=tuple(notices),
    )


def text_sha256(documents: Sequence[str]) -> str:
    """SHA-256 of one document's UTF-8 bytes, or over the digests of several.

    >>> text_sha256(["abc"])[:8]
    'ba7816bf'
    """
    return sha256_of_digests([digest(document) for document in documents])


def sha256_of_digests(digests: Sequence[bytes]) -> str:
    """As `text_sha256`, of documents whose digests are known."""
    return (digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()).hex()


def held_fraction(characters: int, fraction: float, most: int) -> float:
    """The share of so many characters that is held back: a fraction, but no more characters than `most`.

    >>> held_fraction(1_000, 0.1, 500), held_fraction(1_000_000, 0.1, 500)
    (0.1, 0.0005)
    """
    return fraction if fraction * characters <= most else most / characters


def place_of(characters: int, fraction: float) -> int:
    """Where in a document of so many characters the last part begins that is held back."""
    return max(1, int(characters * (1 - fraction)))


def _by_position(documents: Sequence[str], fraction: float, most: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(first part, last part) of every document; all and nothing when the last parts are too short."""
    fraction = held_fraction(sum(map(len, documents)), fraction, most)
    cuts = [place_of(len(document), fraction) for document in documents]
    last = tuple(document[cut:] for document, cut in zip(documents, cuts, strict=True) if cut < len(document))
    if sum(map(len, last)) < MIN_SPLIT_CHARACTERS:
        return tuple(documents), ()
    return tuple(document[:cut] for document, cut in zip(documents, cuts, strict=True)), last


def _by_document(documents: Sequence[str], fraction: float, most: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the others, the first that make up the fraction), in their order; equal neighbours stay together.

    A document larger than the whole share stays in training, or a single long one could swallow it.
    """
    share = min(fraction * sum(map(len, documents)), most)
    others: list[str] = []
    held: list[str] = []
    characters = 0
    for document, group in groupby(documents):
        equal = list(group)
        size = len(document) * len(equal)
        if characters < share and size <= share:
            held += equal
            characters += size
        else:
            others += equal
    if characters < MIN_SPLIT_CHARACTERS:
        return tuple(documents), ()
    return tuple(others), tuple(held)


def rank(document: str) -> bytes:
    """A document's place (32 bytes) among those that are dealt out: a hash of its text."""
    return digest(document, _SEED)


def digest(document: str, prefix: bytes = b"") -> bytes:
    """SHA-256 of the prefix and the UTF-8 bytes, taken in pieces: a large text is not copied whole."""
    if len(document) <= _CHUNK:
        return hashlib.sha256(prefix + document.encode("utf-8", "surrogatepass")).digest()
    sha = hashlib.sha256(prefix)
    for start in range(0, len(document), _CHUNK):
        sha.update(document[start : start + _CHUNK].encode("utf-8", "surrogatepass"))
    return sha.digest()
