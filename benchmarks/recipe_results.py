"""What was measured of the recipe: a line of JSON for every run that ended, and what makes two runs the same run."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import ConfigError
from clearhead.files import storing

RESULTS = Path(__file__).with_name("recipe.jsonl")
BASE = "base"
"""The name of the recipe itself among its variants."""
OF_THE_RUN = ("seed", "max_iters", "eval_interval", "save_interval", "lines")
"""Settings of a measurement or its text, not of the recipe: what a step costs does not hang on them."""


@dataclass(frozen=True)
class Line:
    """What a measurement was of: the recipe with some settings changed."""

    variant: str
    base: Mapping[str, Any]
    """All flat settings of the recipe that this is held against, seed and steps too."""
    settings: Mapping[str, Any]
    """Those in which it differs from `base`; empty for the recipe itself."""
    date: str
    machine: Mapping[str, Any]

    @cached_property
    def base_config(self) -> RunConfig:
        """The whole recipe. A setting that is younger than the line has its default."""
        return RunConfig().with_settings(self.base)

    @cached_property
    def config(self) -> RunConfig:
        """The whole configuration that was measured."""
        return self.base_config.with_settings(self.settings)

    @cached_property
    def costs(self) -> list[dict[str, Any]]:
        """Of the recipe and of what was measured: all settings that a step's cost can hang on."""
        both = (flat(self.base_config), flat(self.config))
        return [{name: value for name, value in one.items() if name not in OF_THE_RUN} for one in both]


@dataclass(frozen=True)
class Result(Line):
    """A run that ended. Losses are in nats per token; None where training diverged."""

    key: str
    corpus: str
    sha256: str
    """Of the text."""
    train_tokens: int
    """In the text that gradients see."""
    seed: int
    steps: int
    """Made; fewer than asked for where patience ended the run."""
    dev: float | None
    """Over the full dev split, of the best weights by dev: it decides."""
    val: float | None
    """Over the full validation split, of the same weights: shown beside it."""
    train: float | None
    """The estimate over random batches at the last evaluation."""
    seconds: float
    """Of training, on a machine that may have been busy."""

    @property
    def current_key(self) -> str:
        """The key as this version would give it."""
        return key_of(self.config, self.sha256)


@dataclass(frozen=True)
class Speed(Line):
    """Seconds for the same number of tokens: the variant's over the recipe's, above 1 is slower."""

    ratio: float
    """The median over pairs of neighbouring blocks of steps."""
    low: float
    high: float
    """A half of the pairs lies between."""


KINDS = {"run": Result, "speed": Speed}


def flat(config: RunConfig) -> dict[str, Any]:
    """All settings by the names of their flags, as `RunConfig.with_settings` takes them."""
    settings: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        settings |= value if isinstance(value, dict) else {name: value}
    return settings


def difference(config: RunConfig, base: RunConfig) -> dict[str, Any]:
    """The flat settings in which a configuration differs from another."""
    ours, theirs = flat(config), flat(base)
    return {name: value for name, value in ours.items() if value != theirs[name]}


def key_of(config: RunConfig, sha256: str) -> str:
    """One run's name: 16 hex digits of its effective configuration, seed included, and its text."""
    told = json.dumps([flat(config), sha256], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def read(path: Path) -> list[Result | Speed]:
    """All lines, oldest first; none where there is no file. ConfigError names a line that cannot be read."""
    if not path.exists():
        return []
    found: list[Result | Speed] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            told = json.loads(line)
            found.append(KINDS[told.pop("kind")](**told))
            assert found[-1].config
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise ConfigError(f"line {number} of {path} is no result ({error}); remove it to measure again") from None
    return found


def append(path: Path, result: Result | Speed) -> None:
    """Add a line in one write, so that several processes may share the file; StorageError when the disk refuses."""
    kind = next(name for name, record in KINDS.items() if isinstance(result, record))
    line = json.dumps({"kind": kind, **dataclasses.asdict(result)}) + "\n"
    with storing(path), path.open("ab", buffering=0) as file:
        file.write(line.encode())
        os.fsync(file.fileno())
