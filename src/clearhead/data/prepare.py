"""From a configuration and what the user names to a corpus, its tokenizer and its ids."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.data.corpus import Corpus, read_corpus
from clearhead.data.learning import check_tokenizer, learn
from clearhead.data.manifest import is_prepared
from clearhead.data.remote import is_prepared_remotely, is_remote
from clearhead.data.shards import ShardDataset
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError, CorpusError
from clearhead.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Prepared:
    """All that a model needs of a text."""

    text: Corpus | None
    """None where only tokens are there: a prepared folder."""
    tokenizer: Tokenizer
    data: TokenDataset

    @property
    def corpus(self) -> Corpus:
        """The text itself; CorpusError where it is not there."""
        if self.text is None:
            raise CorpusError(
                f"{self.data.meta.name} is a prepared folder, tokens alone, and this needs the text itself"
            )
        return self.text

    @property
    def shards(self) -> ShardDataset | None:
        """The prepared folder that this is."""
        return self.data if isinstance(self.data, ShardDataset) else None


def prepare(config: RunConfig, corpus: Sequence[str]) -> Prepared:
    """Read the corpus, train the tokenizer on what gradients see, and have the ids on disk.

    A prepared folder has all of that already. CorpusError, TokenizerError, ConfigError or StorageError says in one
    line what is in the way.
    """
    check_tokenizer(config.tokenizer)
    if (folder := prepared_folder(corpus)) is not None:
        data = ShardDataset.open(folder)
        _check_settings(config, data)
        return Prepared(None, data.tokenizer, data)
    read = read_corpus(corpus, config.data, config.tokenizer)
    tokenizer = train_tokenizer(read, config.tokenizer)
    return Prepared(read, tokenizer, retokenise(read, tokenizer))


def prepared_folder(corpus: Sequence[str]) -> str | None:
    """The prepared folder, or its address, that is named as the text; None for texts.

    CorpusError for a folder among others.
    """
    folders = [name for name in corpus if is_prepared(name) or (is_remote(name) and is_prepared_remotely(name))]
    if folders and len(set(corpus)) > 1:
        raise CorpusError(
            f"{folders[0]} is a prepared folder, which is trained on alone; prepare the texts together: "
            "clearhead prepare A B --out FOLDER"
        )
    return folders[0] if folders else None


def _check_settings(config: RunConfig, data: ShardDataset) -> None:
    """ConfigError where a text is to be read otherwise than it was when it was prepared; defaults ask for nothing."""
    for asked, default, section in (
        (config.tokenizer, TokenizerConfig(), "tokenizer"),
        (config.data, DataConfig(), "data"),
    ):
        was = data.manifest.reading[section]
        for name, value in asdict(asked).items():
            if value != getattr(default, name) and value != was.get(name):
                raise ConfigError(
                    f"{name}={value}, but {data.folder} was prepared with {name}={was.get(name)}; leave --{name} out, "
                    "or prepare the text anew"
                )


def train_tokenizer(corpus: Corpus, config: TokenizerConfig) -> Tokenizer:
    """A tokenizer of the text that gradients see; with an unknown token where dev or validation text needs one.

    Or the tokenizer of the file that is named.
    """
    tokenizer = learn(config, corpus.fit, eot=corpus.separated, unk=config.unk)
    if (
        not config.from_file
        and tokenizer.unk_id is None
        and any(map(tokenizer.hidden_characters, corpus.dev + corpus.val))
    ):
        return learn(config, corpus.fit, eot=corpus.separated, unk=True)
    return tokenizer


def retokenise(corpus: Corpus, tokenizer: Tokenizer) -> TokenDataset:
    """The ids of a corpus by a tokenizer that exists.

    TokenizerError names the first character it lacks, or the end-of-text it would need.
    """
    return TokenDataset.prepare(corpus, tokenizer)
