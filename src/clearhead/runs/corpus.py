"""A run's memory of its text: where it was, what it was, how to have it again, and what has changed in it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from clearhead.config import RunConfig
from clearhead.data import named
from clearhead.data.corpus import MANY_DOCUMENTS, Corpus, read_corpus
from clearhead.data.manifest import is_prepared
from clearhead.data.prepare import retokenise
from clearhead.data.remote import is_remote
from clearhead.data.shards import ShardDataset
from clearhead.data.store import TokenMeta, read_meta
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ClearheadError, CorpusError
from clearhead.runs.directory import RunDirectory
from clearhead.tokenizers.base import Tokenizer

BLOCKS = 64
"""Of a text, each with a digest in corpus.json: so close a change can be placed."""

_PIECE = 1 << 20
"""Characters encoded at a time: a large text is not copied whole."""


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """What corpus.json keeps."""
    characters = {split: sum(map(len, getattr(corpus, split))) for split in ("train", "dev", "val")}
    size = max(1, -(-(characters["train"] + characters["val"]) // BLOCKS))
    return {
        "name": corpus.name,
        "paths": list(corpus.paths),
        "sha256": corpus.sha256,
        "val_sha256": corpus.val_sha256,
        "documents": {split: len(getattr(corpus, split)) for split in ("train", "dev", "val")},
        "characters": characters,
        "blocks": {"characters": size, "digests": block_digests(_as_read(corpus), size)},
    }


def shards_record(data: ShardDataset) -> dict[str, Any]:
    """What corpus.json keeps of a prepared folder."""
    splits = data.manifest.splits
    documents, characters = (
        {split: splits[split][figure] for split in ("train", "dev", "val")} for figure in ("documents", "characters")
    )
    for counts in (documents, characters):  # as with a text, train is all but val
        counts["train"] += counts["dev"]
    return {
        "name": data.manifest.name,
        "paths": [data.address or str(data.folder.absolute())],
        "sha256": data.manifest.sha256,
        "val_sha256": data.manifest.val_sha256,
        "documents": documents,
        "characters": characters,
        "prepared": True,
    }


def block_digests(pieces: Iterable[str], size: int) -> list[str]:
    """16 hex digits of SHA-256 for every `size` characters of the pieces, one after the other.

    >>> block_digests(["abc", "d"], 2) == block_digests(["abcd"], 2)
    True
    """
    digests, sha, room = [], hashlib.sha256(), size
    for piece in pieces:
        at = 0
        while part := piece[at : at + min(room, _PIECE)]:
            sha.update(part.encode("utf-8", "surrogatepass"))
            at, room = at + len(part), room - len(part)
            if not room:
                digests.append(sha.hexdigest()[:16])
                sha, room = hashlib.sha256(), size
    return digests if room == size else [*digests, sha.hexdigest()[:16]]


def _as_read(corpus: Corpus) -> Iterator[str]:
    """The text in its own order: each document's training part, then its validation part.

    Nothing of a text whose whole documents were dealt out: where they stand, by their hashes, tells a person nothing.
    """
    train, val = corpus.train, corpus.val
    if len(train) < MANY_DOCUMENTS and len(val) in (0, len(train)):
        for parts in zip_longest(train, val, fillvalue=""):
            yield from parts


def open_data(run: RunDirectory, tokenizer: Tokenizer | None = None) -> TokenDataset:
    """The tokens a run was trained on; CorpusError when its text has changed or is gone.

    A run that was imported with its tokens needs no text. A text that cannot be read again (standard input, a
    deleted file) is still found in the token cache.
    """
    record = run.read_corpus()
    tokenizer = tokenizer or run.read_tokenizer()
    if run.tokens.is_dir():
        return carried_tokens(run, tokenizer)
    if record.get("prepared"):
        return _open_shards(run, record, tokenizer)
    try:
        corpus = _read_again(record, run.read_config())
    except CorpusError as error:
        if data := TokenDataset.find(record["sha256"], tokenizer.fingerprint):
            return data
        raise CorpusError(_gone(run.name, record["paths"], error)) from None
    if corpus.sha256 != record["sha256"]:
        raise CorpusError(
            f"the text of run {run.name} has changed: it {_difference(record, corpus)}; restore it, or train a new run"
        )
    return retokenise(corpus, tokenizer)


def _open_shards(run: RunDirectory, record: dict[str, Any], tokenizer: Tokenizer) -> TokenDataset:
    """The prepared folder of a run; CorpusError when it is gone or holds something else."""
    folder = "".join(record["paths"][:1])
    if not is_remote(folder) and not is_prepared(folder):
        raise CorpusError(
            f"the prepared folder of run {run.name} is not at {folder}; put it back, or a symbolic link to where it is"
        )
    data = ShardDataset.open(folder, tokenizer)
    if (data.manifest.sha256, data.manifest.val_sha256) != (record["sha256"], record["val_sha256"]):
        raise CorpusError(f"{folder} holds another text than run {run.name} was trained on; put the old one back")
    return data


def carried_tokens(run: RunDirectory, tokenizer: Tokenizer) -> TokenDataset:
    """The ids in a run's own folder; CorpusError when they are not those of its text and tokenizer."""
    record = run.read_corpus()
    try:
        meta = read_meta(run.tokens)
        known = (meta.corpus_sha256, meta.val_sha256, meta.tokenizer_fingerprint, meta.vocab_size)
        wanted = (record["sha256"], record["val_sha256"], tokenizer.fingerprint, tokenizer.vocab_size)
        data = TokenDataset(run.tokens, meta) if known == wanted else None
    except (ClearheadError, OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise CorpusError(f"{run.tokens} cannot be read ({error}); delete it, and give the text instead") from None
    if data is None or not all(_in_range(data, split, meta) for split in ("counts", "val")):
        raise CorpusError(f"{run.tokens} does not hold the tokens of this run; delete it, and give the text instead")
    return data


def _in_range(data: TokenDataset, split: str, meta: TokenMeta) -> bool:
    """Whether a stream is as long as it should be, of ids that the vocabulary has."""
    ids = data.ids(split)
    return len(ids) == meta.tokens[split] and (not len(ids) or int(ids.max()) < meta.vocab_size)


def _difference(record: dict[str, Any], corpus: Corpus) -> str:
    """What a text was and is, and where it differs as far as the record tells."""
    counts = record["characters"]
    before, now = counts["train"] + counts["val"], sum(map(len, (*corpus.train, *corpus.val)))
    where = _where(record, corpus, max(before, now))
    return f"had {before:,} characters (SHA-256 {record['sha256'][:12]}), it has {now:,} ({corpus.sha256[:12]})" + (
        where and f", {where}"
    )


def _where(record: dict[str, Any], corpus: Corpus, end: int) -> str:
    blocks = record.get("blocks", {"digests": []})
    if not blocks["digests"]:
        documents = record["documents"]["train"] + record["documents"]["val"]
        now = len(corpus.train) + len(corpus.val)
        return f"in {documents:,} documents before and {now:,} now" if documents >= MANY_DOCUMENTS else ""
    size = blocks["characters"]
    pairs = enumerate(zip_longest(blocks["digests"], block_digests(_as_read(corpus), size)))
    first = next((number for number, (old, new) in pairs if old != new), None)
    if first is None:
        return "the same ones divided into other documents"
    whose = " of its documents, one after the other" if len(corpus.train) > 1 else ""
    return f"first difference between characters {first * size:,} and {min(first * size + size, end):,}{whose}"


def _gone(name: str, paths: list[str], error: CorpusError) -> str:
    """What to say of a text that is not there: an imported run knows its name alone."""
    bare = [path for path in paths if not os.path.isabs(path) and path not in named.NAMES]
    if bare:
        return (
            f"run {name} was imported without its text: put {', '.join(bare)} into the folder you are in, "
            "or export the run again with --with_tokens"
        )
    return f"the text of run {name} is gone: {error}"


def _read_again(record: dict[str, Any], config: RunConfig) -> Corpus:
    if not record["paths"]:
        raise CorpusError("it came from standard input")
    return read_corpus(record["paths"], config.data, config.tokenizer)
