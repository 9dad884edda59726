"""From words on the command line to a typed record, and back to one line when they do not fit."""

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from clearhead.config import DataConfig, RunConfig, TokenizerConfig
from clearhead.errors import ConfigError, did_you_mean
from clearhead.runtime import world

Record = TypeVar("Record")
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is given or not."""
Words = tyro.conf.Positional[tuple[str, ...]]

RUNS = Path("runs")


def parse(record: type[Record], verb: str, argv: Sequence[str], default: Record | None = None) -> Record:
    """The arguments of a verb; ConfigError in one line for what is unknown or has the wrong type.

    `--flag` and its value are read with `-` and `_` alike.
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            parsed, unknown = tyro.cli(
                record,
                prog=f"clearhead {verb}",
                args=list(argv),
                default=default,
                return_unknown_args=True,
                use_underscores=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_one_line(told.getvalue(), verb)) from None
    if unknown:
        flag = unknown[0].split("=")[0]
        hint = did_you_mean(flag, flags(default or record)) if flag.startswith("-") else f"see clearhead {verb} --help"
        raise ConfigError(f"unknown argument '{flag}': {hint}")
    assert parsed is not None
    return parsed


@contextlib.contextmanager
def said_once() -> Iterator[None]:
    """A block in which the words are read: of several processes that have the same ones, the first alone complains."""
    try:
        yield
    except ConfigError as error:
        if world().rank:
            raise SystemExit(error.exit_code) from None
        raise


def flags(record: Any) -> list[str]:
    """All flags of a record, those of its sections too."""
    found = []
    for field in dataclasses.fields(record):
        section = field.default_factory
        if isinstance(section, type) and dataclasses.is_dataclass(section):
            found += flags(section)
        else:
            found.append(f"--{field.name}")
    return found


def given_flags(argv: Sequence[str]) -> set[str]:
    """The names of the flags on a command line, with underscores."""
    return {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}


def unescape(text: str) -> str:
    """A text as it was meant by who cannot type a line end or a tab into a shell."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _one_line(told: str, verb: str) -> str:
    """The reason inside what tyro prints: a box, or in ASCII a title, a rule and paragraphs between rules."""
    lines = [line.strip(" │") for line in told.splitlines() if line.strip(" │") and line[0] != "╭"]
    if "╭" not in told and len(lines) > 1 and _is_rule(lines[1]):
        lines = lines[2:]
    reason = " ".join(itertools.takewhile(lambda line: not _is_rule(line), lines))
    return f"{reason.rstrip('.') or 'the arguments do not fit'}; see clearhead {verb} --help"


def _is_rule(line: str) -> bool:
    return set(line) <= set("-─╰╯")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How a text is read and cut into tokens."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """How the text is read."""
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    """How it becomes ids."""

    def config(self) -> RunConfig:
        """The run's configuration that reads this way."""
        return dataclasses.replace(RunConfig(), data=self.data, tokenizer=self.tokenizer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """Who trains."""

    nproc: int | None = None
    """Train in so many processes on this machine, begun by torchrun: one per GPU, or a few that share the cores."""
    max_restarts: int = 0
    """With --nproc: how often all are begun anew where one fails; they go on from the last checkpoint."""

    def launch(self, verb: str, argv: Sequence[str]) -> int:
        """Run a verb in all of them, with the words that are not about them; the exit code."""
        from clearhead.training.launch import launch

        return launch(self.nproc or 1, [verb, *_without(argv, {"nproc", "max_restarts"})], self.max_restarts)


def _without(argv: Sequence[str], names: set[str]) -> list[str]:
    """Words without some flags and their values, in both spellings."""
    kept, words = [], iter(argv)
    for word in words:
        if not names.intersection(given_flags([word])):
            kept.append(word)
        elif "=" not in word:
            next(words, None)
    return kept
