"""What is compared: a configuration for every setting, the same for all but the knobs, over the same seeds."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.errors import ConfigError, CorpusError, did_you_mean
from clearhead.evaluation.ladder import Rung, counted_rungs
from clearhead.evaluation.mixing import has_dev
from clearhead.experiments.knobs import Knob, Setting, combinations, describe, merged
from clearhead.experiments.recipe import SEEDS, configure
from clearhead.files import file_name
from clearhead.initialise import default_name, names_for
from clearhead.training.draft import Draft, Text, fit_block, read_text

MOST_STEM = 60
"""Characters."""
MOST_SEEDS = 100


@dataclass(frozen=True)
class Arm:
    """One setting of the knobs."""

    name: str
    """n_embd=8, n_layer=2"""
    choice: tuple[Setting, ...]
    """A value for each knob."""
    stem: str
    """What the names of its runs begin with."""
    digest: str
    """Six hex digits of all that its runs were asked for."""
    draft: Draft
    """Of its runs, but for the seed."""

    def seeded(self, seed: int) -> Draft:
        """The draft of one run."""
        return self.changed({"seed": seed}).draft

    def changed(self, settings: Mapping[str, Any]) -> "Arm":
        """The same with other settings, under the same name."""
        return replace(self, draft=replace(self.draft, config=self.draft.config.with_settings(settings)))

    def run_name(self, seed: int) -> str:
        """The folder of one run."""
        return f"{self.stem}-seed-{seed}-{self.digest}"


@dataclass(frozen=True)
class Design:
    """All that is to be run."""

    knobs: tuple[str, ...]
    """Their names."""
    turned: frozenset[str]
    """The settings that they change."""
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    seconds: float | None
    """Of training for every run; None where the number of steps is given."""

    @property
    def text(self) -> Text:
        """The text, in the tokens of the first arm."""
        return self.arms[0].draft.text


@dataclass
class Texts:
    """A corpus, read and counted once for each way to read it."""

    corpus: Sequence[str]
    known: dict[Any, tuple[Text, list[Rung]]] = field(default_factory=dict)

    def draft(self, config: RunConfig) -> Draft:
        """The draft of a run of a configuration."""
        read_as = (config.data, config.tokenizer, config.train.device, config.train.precision)
        if read_as not in self.known:
            text = read_text(config, self.corpus)
            self.known[read_as] = text, list(counted_rungs(text.data, text.tokenizer))
        text, rungs = self.known[read_as]
        config, notices = fit_block(config, text.data)
        if config.model == "mixture" and not has_dev(text.data):
            raise ConfigError("model=mixture is fitted on dev, and the text is too short for it; try model=gpt")
        init = config.init or default_name(config.trained, config.preset)
        return Draft(replace(config, init=init), text, rungs, None, notices)

    def check(self) -> None:
        """CorpusError where no validation text is held back; ConfigError where it differs."""
        first = next(iter(self.known.values()))[0].record
        if not first["val_sha256"] or not first["documents"]["val"]:
            raise CorpusError(f"'{first['name']}' is too short to hold any validation text back; give a longer text")
        if any(text.record["val_sha256"] != first["val_sha256"] for text, _ in self.known.values()):
            raise ConfigError("these settings hold back different validation texts, and losses on them do not compare")


def draw_up(
    knobs: Sequence[Knob],
    texts: Texts,
    settings: Mapping[str, Any],
    *,
    seeds: int = SEEDS,
    seconds: float | None = None,
) -> Design:
    """The design of one knob, or of the grid of two; see `draw_arms`."""
    if not 1 <= len(knobs) <= 2:
        raise ConfigError(f"{len(knobs)} knobs: give one, or two that make a grid; more are searched, with --search 20")
    check_given(knobs, settings, seconds)
    names = [knob.name for knob in knobs]
    return draw_arms(names, list(combinations(knobs)), texts, settings, seeds=seeds, seconds=seconds)


def draw_arms(
    names: Sequence[str],
    choices: Sequence[Sequence[Setting]],
    texts: Texts,
    settings: Mapping[str, Any],
    *,
    seeds: int = SEEDS,
    seconds: float | None = None,
) -> Design:
    """Build and check the configuration of every choice of values for the named knobs.

    `settings` are the flags' names, for all runs alike. ConfigError names a value that makes no configuration, before
    anything is trained; CorpusError where no validation text is held back.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"seeds={seeds} is outside 1 .. {MOST_SEEDS}; {SEEDS} is the default")
    configs = [_checked(configure({**settings, **merged(choice)}), seconds) for choice in choices]
    drawn = [_arm(names, each, texts.draft(config), seconds) for each, config in zip(choices, configs, strict=True)]
    texts.check()
    base = drawn[0].draft.config.train.seed
    turned = frozenset(name for choice in choices for name in merged(choice))
    return Design(tuple(names), turned, tuple(drawn), tuple(range(base, base + seeds)), seconds)


def _checked(config: RunConfig, seconds: float | None) -> RunConfig:
    """A configuration that can be trained, as far as that is known before a text is read."""
    registry.check("models", config.model)
    registry.check("optimizers", config.train.optimizer)
    if config.init is not None and config.init not in (known := names_for(config.trained)):
        reason = did_you_mean(config.init, known)
        raise ConfigError(f"unknown init '{config.init}' for model '{config.model}': {reason}")
    if seconds is not None and config.model == "ngram":
        raise ConfigError("model=ngram is counted, and no --time would make it longer; leave one of them out")
    return config


def check_given(knobs: Sequence[Knob], settings: Mapping[str, Any], seconds: float | None) -> None:
    """ConfigError where a knob turns what is given for all runs, or the steps where a time is given."""
    for knob in knobs:
        for name in knob.sets:
            if name in settings:
                raise ConfigError(
                    f"{name} is turned by the knob {knob.name}, and given for all runs; leave --{name} out"
                )
    if seconds is not None and any("max_iters" in {*settings, *knob.sets} for knob in knobs):
        raise ConfigError("max_iters gives the steps, and --time would count them off the clock; leave one of them out")


def _arm(names: Sequence[str], choice: Sequence[Setting], draft: Draft, seconds: float | None) -> Arm:
    record, train = draft.text.record, replace(draft.config.train, seed=0, device="auto")
    asked = f"{replace(draft.config, train=train).to_toml()}\n{record['sha256']}\n{seconds}"
    said = "-".join(f"{name}-{value.word}" for name, value in zip(names, choice, strict=True))
    stem = file_name(f"{file_name(record['name'])}-{said}")[:MOST_STEM].strip("-.")
    return Arm(describe(names, choice), tuple(choice), stem, hashlib.sha256(asked.encode()).hexdigest()[:6], draft)
