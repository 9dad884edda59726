"""From a configuration and what the user names to a corpus, its tokenizer and its ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead import registry
from clearhead.config import RunConfig, TokenizerConfig
from clearhead.data.corpus import Corpus, read_corpus
from clearhead.data.tokens import TokenDataset
from clearhead.tokenizers.base import Tokenizer, open_tokenizer


@dataclass(frozen=True)
class Prepared:
    """All that a model needs of a text."""

    corpus: Corpus
    tokenizer: Tokenizer
    data: TokenDataset


def prepare(config: RunConfig, corpus: Sequence[str]) -> Prepared:
    """Read the corpus, train the tokenizer on what gradients see, and have the ids on disk.

    CorpusError, TokenizerError, ConfigError or StorageError says in one line what is in the way.
    """
    check_tokenizer(config.tokenizer)
    read = read_corpus(corpus, config.data, config.tokenizer)
    tokenizer = train_tokenizer(read, config.tokenizer)
    return Prepared(read, tokenizer, retokenise(read, tokenizer))


def check_tokenizer(config: TokenizerConfig) -> None:
    """ConfigError where a tokenizer is neither registered nor a file."""
    if not config.from_file:
        registry.check("tokenizers", config.tokenizer)


def train_tokenizer(corpus: Corpus, config: TokenizerConfig) -> Tokenizer:
    """A tokenizer of the text that gradients see; with an unknown token where dev or validation text needs one.

    Or the tokenizer of the file that is named.
    """
    if config.from_file:
        return open_tokenizer(Path(config.tokenizer), eot=corpus.separated)
    kind = registry.resolve("tokenizers", config.tokenizer)
    options = {name: value for name in ("vocab_size", "lowercase") if (value := getattr(config, name))}
    tokenizer = kind.train(corpus.fit, eot=corpus.separated, unk=config.unk, **options)
    if tokenizer.unk_id is None and any(map(tokenizer.hidden_characters, corpus.dev + corpus.val)):
        return kind.train(corpus.fit, eot=corpus.separated, unk=True, **options)
    return tokenizer


def retokenise(corpus: Corpus, tokenizer: Tokenizer) -> TokenDataset:
    """The ids of a corpus by a tokenizer that exists.

    TokenizerError names the first character it lacks, or the end-of-text it would need.
    """
    return TokenDataset.prepare(corpus, tokenizer)
