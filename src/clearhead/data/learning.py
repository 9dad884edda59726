"""A tokenizer from text and settings."""

from collections.abc import Iterable
from pathlib import Path

from clearhead import registry
from clearhead.config import TokenizerConfig
from clearhead.tokenizers.base import Tokenizer, open_tokenizer


def check_tokenizer(config: TokenizerConfig) -> None:
    """ConfigError where a tokenizer is neither registered nor a file."""
    if not config.from_file:
        registry.check("tokenizers", config.tokenizer)


def learn(config: TokenizerConfig, texts: Iterable[str], *, eot: bool, unk: bool) -> Tokenizer:
    """The tokenizer of some texts, or of the file that is named; with the special tokens that are asked for."""
    if config.from_file:
        return open_tokenizer(Path(config.tokenizer), eot=eot)
    kind = registry.resolve("tokenizers", config.tokenizer)
    options = {name: value for name in ("vocab_size", "lowercase") if (value := getattr(config, name))}
    return kind.train(texts, eot=eot, unk=unk, **options)
