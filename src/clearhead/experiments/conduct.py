"""Runs of a design, one after the other: what is there is kept, what was cut short goes on, what is missing is made."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from clearhead.config import TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.errors import CheckpointError, ConfigError
from clearhead.experiments.design import Arm, Design
from clearhead.experiments.recipe import EVALUATIONS, paced
from clearhead.runs.directory import RunDirectory, is_run
from clearhead.training.console import duration
from clearhead.training.events import Event
from clearhead.training.job import begin_job, resume_job
from clearhead.training.pace import measure_pace
from clearhead.training.running import run_job

LONG = 1_800.0
"""Seconds: an experiment that takes longer is only begun by who says so."""
BESIDE = 1.0
"""Seconds of a run in which no tokens pass through: samples, saves."""
LEAST_STEPS = 10


class Watcher(Protocol):
    """Who looks on. An arm and a seed say which run an event is of."""

    def begin(self, design: Design, seconds: float) -> None:
        """All is checked, and about so many seconds of training lie ahead."""
        ...

    def handle(self, arm: Arm, seed: int, event: Event) -> None:
        """An event of a run."""
        ...

    def end(self, arm: Arm, seed: int, run: RunDirectory, *, before: bool) -> None:
        """A run is at its end, now or since an earlier time."""
        ...

    def tell(self, line: str) -> None:
        """Something else that is worth a line."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class Silence:
    """A watcher that says nothing."""

    def begin(self, design: Design, seconds: float) -> None:
        """Nothing."""

    def handle(self, arm: Arm, seed: int, event: Event) -> None:
        """Nothing."""

    def end(self, arm: Arm, seed: int, run: RunDirectory, *, before: bool) -> None:
        """Nothing."""

    def tell(self, line: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Stopped(KeyboardInterrupt):
    """A signal came; the run that was being trained is saved, and the same experiment asked for again goes on."""

    def __init__(self, run: RunDirectory, name: str | None) -> None:
        super().__init__(f"stopped in {run.name}, which is saved")
        self.run, self.signal = run, signal.Signals[name or "SIGINT"]


@dataclass(frozen=True)
class Made:
    """A run at its end."""

    arm: Arm
    seed: int
    run: RunDirectory


def conduct(design: Design, out: Path, watcher: Watcher | None = None, most_seconds: float | None = LONG) -> list[Made]:
    """Make every run of a design, in turns: all settings of a seed before the next seed.

    ConfigError where it would take more than `most_seconds` (None: let it), before anything is trained; CheckpointError
    for a run that bears the name of one of these and is another; Stopped, and what training raises.
    """
    watcher = watcher or Silence()
    design, seconds = clocked(design, out)
    check_time(seconds, most_seconds, f"{len(design.arms)} settings over {len(design.seeds)} seeds")
    watcher.begin(design, seconds)
    try:
        return [Made(arm, seed, _make(arm, seed, out, watcher)) for seed in design.seeds for arm in design.arms]
    finally:
        watcher.close()


def all_made(design: Design, out: Path) -> bool:
    """Whether every run of a design is at its end already."""
    found = [_found(arm, seed, out) for seed in design.seeds for arm in design.arms]
    return all(run is not None and _at_its_end(run) for run in found)


def check_time(seconds: float, most_seconds: float | None, what: str) -> None:
    """ConfigError where something would take longer than it may."""
    if most_seconds is not None and seconds > most_seconds:
        raise ConfigError(
            f"{what} would take about {duration(seconds)} here, more than {duration(most_seconds)}; "
            "give fewer of them or --max_iters, or say --yes"
        )


def clocked(design: Design, out: Path) -> tuple[Design, float]:
    """The design with its steps counted off the clock where a time was given; and about how long all of it will take.

    Steps that runs have already been given stay as they are: all seeds of a setting make as many.
    """
    arms, total = [], 0.0
    for arm in design.arms:
        runs = [found for seed in design.seeds if (found := _found(arm, seed, out)) is not None]
        missing = len(design.seeds) - sum(map(_at_its_end, runs))
        text, config = arm.draft.text, arm.draft.config
        step_seconds = looking = 0.0
        if config.model != "ngram" and (missing or design.seconds is not None):
            pace = measure_pace(config, text.data, text.tokenizer, text.runtime)
            step_seconds, looking = pace.step_seconds, pace.token_seconds * _tokens_looked_at(config.train, text.data)
        if design.seconds is not None:
            steps = max(LEAST_STEPS, int(design.seconds / step_seconds))
            if runs:
                steps = runs[0].read_config().train.max_iters
            arm = arm.changed({"max_iters": steps, **paced(steps)})
        arms.append(arm)
        total += missing * (arm.draft.config.train.max_iters * step_seconds + looking + BESIDE)
    return replace(design, arms=tuple(arms)), total


def _tokens_looked_at(train: TrainConfig, data: TokenDataset) -> int:
    """By all evaluations of a run, and at its end."""
    quick = 2 * train.eval_iters * train.batch_size * train.block_size
    return (EVALUATIONS + 1) * (quick + len(data.ids("dev"))) + len(data.ids("val"))


def _make(arm: Arm, seed: int, out: Path, watcher: Watcher) -> RunDirectory:
    """One run at its end."""
    run = _found(arm, seed, out)
    if run is not None:
        _check_same(run, arm, seed)
        if _at_its_end(run):
            watcher.end(arm, seed, run, before=True)
            return run
    job = begin_job(arm.seeded(seed), out=out, name=arm.run_name(seed)) if run is None else resume_job(run)
    finished = run_job(job, [_Reader(lambda event: watcher.handle(arm, seed, event))])
    if finished.reason == "interrupted":
        raise Stopped(job.run, finished.signal)
    watcher.end(arm, seed, job.run, before=False)
    return job.run


@dataclass
class _Reader:
    """A sink that passes on what it hears."""

    tell: Callable[[Event], None]

    def handle(self, event: Event) -> None:
        self.tell(event)

    def close(self) -> None:
        pass


def _found(arm: Arm, seed: int, out: Path) -> RunDirectory | None:
    path = out / arm.run_name(seed)
    if path.exists() and not is_run(path):
        raise CheckpointError(f"{path} is no run, and bears the name of one of this experiment; move it away")
    return RunDirectory(path) if is_run(path) else None


def _at_its_end(run: RunDirectory) -> bool:
    """Whether training ended by itself, and all files are sealed."""
    last = next(reversed(run.read_events()), {})
    ended = last.get("event") == "finished" and last.get("reason") in ("done", "patience")
    return ended and run.events_file.name in run.read_manifest()


def _check_same(run: RunDirectory, arm: Arm, seed: int) -> None:
    """CheckpointError unless a run was asked for what this one is."""
    ours, theirs = (dict(_flat(asdict(config))) for config in (arm.seeded(seed).config, run.read_config()))
    different = next((name for name in ours if name != "train.device" and ours[name] != theirs[name]), None)
    if different is None and run.read_corpus()["sha256"] != arm.draft.text.record["sha256"]:
        raise CheckpointError(f"run {run.path} was trained on another text; move it away, or give another --out")
    if different is not None:
        raise CheckpointError(
            f"run {run.path} has {different}={theirs[different]} where this experiment has {ours[different]}; "
            "move it away, or give another --out"
        )


def _flat(values: dict[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
