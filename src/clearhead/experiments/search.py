"""A search over several knobs: dev decides which setting is best, and paired seeds whether it is better than none.

Optuna proposes (a tree-structured Parzen estimator: Bergstra et al. 2011, "Algorithms for hyper-parameter
optimization"). Its proposals follow from the seed and from what was found before: the same search asked for again
proposes the same settings, finds their runs made, and goes on where it stopped.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.api import RUNS, Run
from clearhead.config import RunConfig
from clearhead.errors import ConfigError, DivergenceError, OutOfMemoryError
from clearhead.evaluation.loss import split_loss
from clearhead.evaluation.mixing import has_dev
from clearhead.experiments.conduct import LONG, Silence, Watcher, check_time, clocked, conduct
from clearhead.experiments.design import Design, Texts, check_given, draw_arms
from clearhead.experiments.experiment import Experiment, Tried
from clearhead.experiments.judge import judge
from clearhead.experiments.knobs import (
    PARTS,
    Knob,
    Setting,
    check_name,
    describe,
    hints,
    merged,
    read_knob,
    read_value,
    setting,
)
from clearhead.experiments.recipe import SEEDS, configure

if TYPE_CHECKING:
    from optuna.trial import Trial

LOGARITHMIC = 10.0
"""A range whose end is this many times its beginning is searched by factors, not by differences."""
DIGITS = 3
"""Of a number that is proposed: no loss depends on the fourth."""
MOST_TRIALS = 1_000


@dataclass(frozen=True)
class Range:
    """A knob that is searched from one number to another, both included."""

    name: str
    low: float
    high: float
    whole: bool

    def propose(self, trial: "Trial") -> Setting:
        """A value of it."""
        by_factors = self.low > 0 and self.high >= LOGARITHMIC * self.low
        if self.whole:
            return setting(self.name, trial.suggest_int(self.name, int(self.low), int(self.high), log=by_factors))
        value = trial.suggest_float(self.name, self.low, self.high, log=by_factors)
        return setting(self.name, f"{value:.{DIGITS}g}")

    @property
    def last(self) -> Setting:
        """The largest value."""
        return setting(self.name, int(self.high) if self.whole else f"{self.high:g}")


def read_space(word: str) -> Range | Knob:
    """A knob to be searched: name=low..high, or name=v1,v2,... as `read_knob` has it.

    >>> read_space("learning_rate=1e-4..1e-2")
    Range(name='learning_rate', low=0.0001, high=0.01, whole=False)
    """
    name, _, values = word.partition("=")
    if ".." not in values:
        return read_knob(word)
    name = check_name(name)
    low, high = (read_value(name, end.strip()) if name in hints() else end for end in values.split("..", 1))
    if isinstance(low, bool) or not isinstance(low, int | float) or not isinstance(high, int | float):
        raise ConfigError(f"{name}={values} is no range of numbers; write its values as {name}=value,value")
    if not low < high or not math.isfinite(high - low):
        raise ConfigError(f"{name}={values} is no range: {low:g} must be below {high:g}")
    return Range(name, low, high, whole=type(low) is int)


def search(
    spaces: Sequence[Range | Knob],
    trials: int,
    texts: Texts,
    settings: Mapping[str, Any],
    *,
    seeds: int = SEEDS,
    seconds: float | None = None,
    out: Path = RUNS,
    most_seconds: float | None = LONG,
    watcher: Watcher | None = None,
) -> Experiment:
    """Try `trials` settings on one seed; then the best by dev against the default, over `seeds` fresh ones.

    The other arguments are those of `answer`. ConfigError without the extra `search`, where the text has no dev, and
    where nothing that was tried could be trained.
    """
    watcher = watcher or Silence()
    _check(spaces, trials, settings, seconds)
    names, base = [space.name for space in spaces], configure(settings)

    def design(*choices: Sequence[Setting], fresh: bool = False) -> Design:
        seed = base.train.seed + fresh
        many = seeds if fresh else 1
        return draw_arms(names, choices, texts, {**settings, "seed": seed}, seeds=many, seconds=seconds)

    default = [_value(name, base) for name in names]
    known = design(default)
    if not has_dev(known.text.data):
        raise ConfigError("--search decides on dev, and the text is too short for a dev split; give a longer text")
    check_time(trials * _dearest(known, spaces, design, out), most_seconds, f"{trials} trials and their verdict")
    tried = []
    for found in _explore(spaces, trials, base.train.seed, lambda choice: _try(design(choice), out)):
        tried.append(found)
        watcher.tell(f"trial {len(tried)}/{trials}  {found}")
    best = _best(tried, default)
    verdict = design(best.choice, default, fresh=True)
    judged = judge(verdict, conduct(verdict, out, watcher, most_seconds=None))
    note = f"search: {trials} trials on one seed, dev chose {best.name}; the seeds above are others"
    return replace(judged, tried=tuple(tried), notes=(note, *judged.notes))


def _check(spaces: Sequence[Range | Knob], trials: int, settings: Mapping[str, Any], seconds: float | None) -> None:
    if find_spec("optuna") is None:
        raise ConfigError("--search needs Optuna; install the extra: pip install 'clearhead[search]'")
    if not 2 <= trials <= MOST_TRIALS:
        raise ConfigError(f"search={trials} is outside 2 .. {MOST_TRIALS}; 20 is a beginning")
    check_given([Knob(space.name, (space.last,)) for space in spaces], settings, seconds)


def _explore(
    spaces: Sequence[Range | Knob], trials: int, seed: int, attempt: Callable[[Sequence[Setting]], Tried]
) -> Iterator[Tried]:
    """What was tried, as Optuna proposed it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(trials):
        trial = study.ask()
        choice = [_propose(space, trial) for space in spaces]
        try:
            found = attempt(choice)
        except (ConfigError, DivergenceError, OutOfMemoryError) as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield Tried(describe([space.name for space in spaces], choice), None, None, tuple(choice), str(error))
        else:
            study.tell(trial, found.dev_bits_per_char)
            yield found


def _propose(space: Range | Knob, trial: "Trial") -> Setting:
    if isinstance(space, Range):
        return space.propose(trial)
    return space.values[trial.suggest_categorical(space.name, range(len(space.values)))]


def _try(design: Design, out: Path) -> Tried:
    """Make one run, and look at dev alone."""
    (made,) = conduct(design, out, most_seconds=None)
    run = Run(made.run)
    dev = split_loss(run.model, design.text.data, "dev", run.runtime.exact)
    (arm,) = design.arms
    return Tried(arm.name, str(run.path), dev.bits_per_char, arm.choice)


def _best(tried: Sequence[Tried], default: Sequence[Setting]) -> Tried:
    """The lowest on dev of those that are not the default; ConfigError where there is none."""
    other = [one for one in tried if one.dev_bits_per_char is not None and merged(one.choice) != merged(default)]
    if not other:
        trouble = next((one.trouble for one in tried if one.trouble), "all of them are the default")
        raise ConfigError(f"none of the {len(tried)} settings tried can be compared: {trouble}")
    return min(other, key=lambda one: one.dev_bits_per_char or math.inf)


def _dearest(known: Design, spaces: Sequence[Range | Knob], design: Callable[..., Design], out: Path) -> float:
    """About the seconds of a run at the upper end of all that is searched, or of the default where that is more."""
    found = [clocked(known, out)[1]]
    with suppress(ConfigError):  # the largest of everything need not fit together
        found.append(clocked(design([space.last for space in spaces]), out)[1])
    return max(found)


def _value(name: str, config: RunConfig) -> Setting:
    """What a knob stands at in a configuration."""
    if name in PARTS:
        return setting(name, config.architecture.without != name)
    value = getattr(config, name, None)
    for section in (config.tokenizer, config.architecture, config.train):
        value = getattr(section, name, value)
    return setting(name, value)
