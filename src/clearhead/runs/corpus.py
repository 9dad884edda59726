"""A run's memory of its text: where it was, what it was, and how to have it again."""

from typing import Any

from clearhead.config import RunConfig
from clearhead.data.corpus import Corpus, read_corpus
from clearhead.data.prepare import retokenise
from clearhead.data.tokens import TokenDataset
from clearhead.errors import CorpusError
from clearhead.runs.directory import RunDirectory
from clearhead.tokenizers.base import Tokenizer


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """What corpus.json keeps."""
    return {
        "name": corpus.name,
        "paths": list(corpus.paths),
        "sha256": corpus.sha256,
        "val_sha256": corpus.val_sha256,
        "documents": {split: len(getattr(corpus, split)) for split in ("train", "dev", "val")},
        "characters": {split: sum(map(len, getattr(corpus, split))) for split in ("train", "dev", "val")},
    }


def open_data(run: RunDirectory, tokenizer: Tokenizer | None = None) -> TokenDataset:
    """The tokens a run was trained on; CorpusError when its text has changed or is gone.

    A text that cannot be read again (standard input, a deleted file) is still found in the token cache.
    """
    record = run.read_corpus()
    tokenizer = tokenizer or run.read_tokenizer()
    config = run.read_config()
    try:
        corpus = _read_again(record, config)
    except CorpusError as error:
        if data := TokenDataset.find(record["sha256"], tokenizer.fingerprint):
            return data
        raise CorpusError(f"the text of run {run.name} is gone: {error}") from None
    if corpus.sha256 != record["sha256"]:
        counts = record["characters"]
        before, now = counts["train"] + counts["val"], sum(map(len, (*corpus.train, *corpus.val)))
        raise CorpusError(
            f"the text of run {run.name} has changed: it had {before:,} characters (SHA-256 "
            f"{record['sha256'][:12]}), it has {now:,} ({corpus.sha256[:12]}); restore it, or train a new run"
        )
    return retokenise(corpus, tokenizer)


def _read_again(record: dict[str, Any], config: RunConfig) -> Corpus:
    if not record["paths"]:
        raise CorpusError("it came from standard input")
    return read_corpus(record["paths"], config.data, config.tokenizer)
