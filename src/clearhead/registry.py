"""Names to classes, imported on use.

A third party joins by an entry point in the group `clearhead.<kind>`, for example
`[project.entry-points."clearhead.models"] mymodel = "mypackage:MyModel"`.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from clearhead.errors import ConfigError, did_you_mean

BUILT_IN: dict[str, dict[str, str]] = {
    "tokenizers": {
        "char": "clearhead.tokenizers.char:CharTokenizer",
        "word": "clearhead.tokenizers.word:WordTokenizer",
        "byte": "clearhead.tokenizers.byte:ByteTokenizer",
        "bpe": "clearhead.tokenizers.bpe:BPETokenizer",
    },
    "models": {
        "bigram": "clearhead.models.bigram:BigramLanguageModel",
        "ngram": "clearhead.models.ngram:NgramLanguageModel",
        "gpt": "clearhead.models.gpt:GPTLanguageModel",
        "mixture": "clearhead.models.mixture:MixtureLanguageModel",
    },
    "optimizers": {
        "adamw": "clearhead.optim.adamw:build_adamw",
        "muon": "clearhead.optim.muon:build_muon",
    },
}


@cache
def _targets(kind: str) -> dict[str, str]:
    """All names of a kind with their "module:attribute"; built-in names win over entry points."""
    found = {entry.name: entry.value for entry in entry_points(group=f"clearhead.{kind}")}
    return found | BUILT_IN[kind]


def names(kind: str) -> list[str]:
    """The registered names of a kind ("tokenizers", "models", "optimizers"), sorted."""
    return sorted(_targets(kind))


def check(kind: str, name: str) -> str:
    """The name itself when it is registered; ConfigError with the nearest name otherwise."""
    if name not in _targets(kind):
        raise ConfigError(f"unknown {kind[:-1]} '{name}': {did_you_mean(name, names(kind))}")
    return name


def resolve(kind: str, name: str) -> Any:
    """The class or function registered under `name`, imported now."""
    module, _, attribute = _targets(kind)[check(kind, name)].partition(":")
    return getattr(import_module(module), attribute)
