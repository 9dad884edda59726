"""Runs that are killed and resumed until they are done, and what must then be as if nothing had happened.

Every registered model that gradients train, and every registered optimizer, joins by its name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

from forked import KILLED, Ended, Forker

from clearhead import registry
from clearhead.files import sha256_file
from clearhead.models.ngram import NgramLanguageModel
from clearhead.runs.checkpoint import MODEL, OPTIMIZER, STATE
from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import read_json
from clearhead.runs.verification import verify_run

FLAGS: dict[str, object] = {
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "warmup_iters": 2,
    "dropout": 0.1,
    "accumulation": 2,
    "max_iters": 32,
    "eval_interval": 9,
    "eval_iters": 1,
    "patience": 3,
    "save_interval": 4,
    "keep": 2,
    "device": "cpu",
}
"""Small, with everything on. Saves and evaluations fall on different steps, and on the same at the end."""
CLOCKS = ("seconds", "run")
"""Fields of events that may differ: clocks, and the name that a run was given."""


@dataclass(frozen=True)
class Case:
    """A run to be killed."""

    name: str
    flags: dict[str, object] = field(default_factory=dict)
    hook: str = "hooks:fuse"
    """Called in the process that begins it; a resume has the plain fuse."""

    @property
    def words(self) -> list[str]:
        """Its settings as words of the command line."""
        return [str(word) for flag, value in {**FLAGS, **self.flags}.items() for word in (f"--{flag}", value)]


def cases() -> list[Case]:
    """All models that gradients train with all optimizers; a run that patience ends, one that learns from dev."""
    trained = [m for m in registry.names("models") if registry.resolve("models", m) is not NgramLanguageModel]
    joined = [
        Case(f"{model}-{optimizer}", {"model": model, "optimizer": optimizer})
        for model in trained
        for optimizer in registry.names("optimizers")
    ]
    still = {"optimizer": "adamw", "learning_rate": 1e-9, "min_lr": 0.0, "eval_interval": 4}
    return [*joined, Case("patience", {"model": "mixture", **still}), Case("dev", {"dev_iters": 8, "patience": 0})]


@dataclass(frozen=True)
class Kill:
    """When a process is killed: after some seconds, at a call, or when an event was told (see `hooks.fuse`)."""

    after: float | None = None
    at: int | None = None
    told: str | None = None


def fingerprint(run: RunDirectory) -> dict[str, Any]:
    """All of a finished run that a kill must not change: bytes by SHA-256, pointers, numbers, events."""
    folders = [run.checkpoint(step) for step in run.steps()] + [run.mixture] * run.mixture.exists()
    found: dict[str, Any] = {
        f"{folder.name}/{name}": sha256_file(folder / name) for folder in folders for name in (MODEL, OPTIMIZER)
    }
    found |= {f"{folder.name}/{STATE}": _without_clocks(read_json(folder / STATE)) for folder in folders}
    found |= {which: run.pointer(which) for which in ("best", "latest")}
    found |= {"config": run.read_config(), "events": [_without_clocks(event) for event in run.read_events()]}
    return found


def lasting(found: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint without the checkpoints that are neither the last nor the best."""
    kept = {f"step-{found[which]}" for which in ("best", "latest")}
    return {key: value for key, value in found.items() if key[:5] != "step-" or key.partition("/")[0] in kept}


def differences(found: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    """What is not the same in two fingerprints, a line each."""
    changed = {key: (found.get(key), whole.get(key)) for key in {*found, *whole} if found.get(key) != whole.get(key)}
    if "events" in changed:
        changed["events"] = next((a, b) for a, b in zip_longest(found["events"], whole["events"]) if a != b)
    return [f"{key}: {a} instead of {b}" for key, (a, b) in sorted(changed.items())]


def _without_clocks(values: Mapping[str, Any]) -> dict[str, Any]:
    told = {k: _without_clocks(v) if isinstance(v, dict) else v for k, v in values.items() if k not in CLOCKS}
    if told.get("event") == "replanned":
        told["message"] = values["message"].partition(" (")[0]  # the pace stands behind it
    return told


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed."""

    found: dict[str, Any]
    seconds: float


class Trial:
    """Runs of one text in one folder, killed at random moments and compared with runs that were not."""

    def __init__(self, folder: Path, text: Path, seed: int) -> None:
        self.out, self.text, self.random = folder / "runs", text, Random(seed)
        self.forker = Forker(folder / "told", {"CLEARHEAD_CACHE": str(folder / "cache")})
        self.counts: Counter[str] = Counter()
        self._wholes: dict[str, Whole] = {}

    def train(self, case: Case, name: str) -> list[str]:
        """The words that begin a run."""
        return ["train", str(self.text), "--out", str(self.out), "--name", name, *case.words]

    def run(self, name: str) -> RunDirectory:
        """A run by its name."""
        return RunDirectory(self.out / name)

    def whole(self, case: Case) -> Whole:
        """The run of a case that nobody kills, made once."""
        if case.name not in self._wholes:
            name = f"{case.name}-whole"
            ended = self.forker.run(self.train(case, name), case.hook)
            assert ended.code == 0, ended.told
            self._wholes[case.name] = Whole(fingerprint(self.run(name)), ended.seconds)
        return self._wholes[case.name]

    def survive(self, case: Case, most: int = 4) -> None:
        """Kill a run up to `most` times, each at a moment that may be any of the whole run's, and finish it."""
        whole, name = self.whole(case), f"{case.name}-{self.counts['runs']}"
        moments = [self.random.uniform(0.0, whole.seconds) for _ in range(self.random.randint(1, most))]
        self.finish(case, name, [Kill(after=moment) for moment in moments])

    def finish(self, case: Case, name: str, kills: Iterable[Kill] = (), *, signalled: bool = False) -> None:
        """Begin or resume a run until it is done, under the next of `kills` each time; then compare it.

        AssertionError where it does not end as the whole one; of a run that was `signalled`, where its last and its
        best checkpoint do not (a signal saves at a step of its own, which may be kept in the place of another).
        """
        run, coming = self.run(name), iter(kills)
        while not self.live(case, name, next(coming, Kill())):
            pass
        self.counts["runs"] += 1
        found, whole = fingerprint(run), self.whole(case).found
        if signalled:
            found, whole = lasting(found), lasting(whole)
        assert not (changed := differences(found, whole)), f"{name}: {changed}"
        report = verify_run(run)
        assert report.ok, report
        assert report.sealed
        assert not list(run.path.rglob("*.tmp")), "nothing half-written is left"

    def live(self, case: Case, name: str, kill: Kill) -> bool:
        """One process of a run, and whether the run is done."""
        run = self.run(name)
        begun = run.path.exists()
        words, hook = (["resume", str(run.path)], "hooks:fuse") if begun else (self.train(case, name), case.hook)
        child = self.forker.start(words, hook, at=kill.at, told=kill.told)
        ended = child.end() if kill.after is None else child.wait(kill.after) or child.kill()
        if ended.code == KILLED:
            self.counts["kills"] += 1
            self.counts[stage(run, ended, resumed=begun)] += 1
            return False
        complete = begun and ended.code == 2 and "is complete" in ended.told  # the kill came after its end
        assert complete or ended.code == 0, ended.told
        return True

    def calls(self, words: Sequence[str], hook: str = "hooks:fuse") -> int:
        """How many calls of a command change something on the disk."""
        tally = self.out.parent / "tally"
        ended = self.forker.run(words, hook, tally=str(tally))
        assert ended.code == 0, ended.told
        return int(tally.read_text())

    def __enter__(self) -> "Trial":
        self.forker.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.forker.__exit__(*error)


def stage(run: RunDirectory, ended: Ended, *, resumed: bool) -> str:
    """Where in its life a run was killed, as far as its folder and its words tell."""
    events = run.read_events()
    if not run.steps():
        return "before the first checkpoint"
    if list(run.checkpoints.glob(".*.tmp")):
        return "inside a save"
    if events and events[-1]["event"] == "finished":
        return "after the end"
    if resumed and "step" not in ended.told:
        return "inside a resume"
    if run.read_config().model == "mixture" and run.steps()[-1] == run.read_config().train.max_iters:
        return "while the mixture was fitted"
    return "between saves"
