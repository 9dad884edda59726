"""The runs of a folder as rows: what each is, where it stands, who trains it. Only what has changed is read again."""

import math
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import ClearheadError
from clearhead.runs.directory import RunDirectory, all_runs, is_run
from clearhead.runs.lock import holder_of
from clearhead.serving.errors import ApiError, short
from clearhead.studio.jobs import Job, Jobs
from clearhead.studio.standing import Standing

FRESH = 0.4
"""Seconds for which rows that were made are handed out again: tabs do not read the folder each for itself."""


@dataclass
class Entry:
    """A run, and what is known of it by now."""

    run: RunDirectory
    standing: Standing
    created: int
    config: RunConfig | None = None
    corpus: str = ""
    texts: tuple[str, ...] = ()
    """Where it lies."""
    broken: str | None = None
    read_at: int = -1
    """When the configuration that was read was written, in nanoseconds."""
    steps: list[int] | None = None
    """Those that have a checkpoint."""
    size: int = 0


class Board:
    """The rows of all runs in a folder, and of jobs that have no run yet."""

    def __init__(self, out: Path, jobs: Jobs) -> None:
        self.out, self.jobs = out, jobs
        self._entries: dict[str, Entry] = {}
        self._rows: list[dict[str, Any]] = []
        self._made = -math.inf
        self._reading = threading.Lock()

    def rows(self, *, now: bool = False) -> list[dict[str, Any]]:
        """A row for each run, the oldest first; at most FRESH seconds old, unless it is to be as of now."""
        with self._reading:
            if now or time.monotonic() - self._made > FRESH:
                self._read()
            return self._rows

    def _read(self) -> None:
        entries, rows = {}, []
        for run in all_runs(self.out):
            with suppress(OSError):  # deleted, or renamed, while it was read
                entries[run.name] = self._entry(run)
                rows.append(self._row(entries[run.name]))
        self._entries = entries
        self._rows = rows + [self._starting(job) for job in self._waiting() if job.name not in entries]
        self._made = time.monotonic()

    def _waiting(self) -> list[Job]:
        """Jobs that may have no run yet; those that were stopped before they had one are forgotten."""
        for job in self.jobs.all():
            ended = job.stopped or not job.words
            if ended and not (self.out / job.name).exists() and not self.jobs.alive(job.name):
                self.jobs.forget(job.name)
        return self.jobs.all()

    def row(self, name: str) -> dict[str, Any]:
        """The row of a run, as of now; ApiError (404) where there is none."""
        for row in self.rows(now=True):
            if row["name"] == name:
                return row
        known = ", ".join(row["name"] for row in self._rows[-12:]) or "none yet"
        raise ApiError(404, f"there is no run {short(name)} here; there are: {known}", param="run", code="no_run")

    def row_or_nothing(self, name: str) -> dict[str, Any]:
        """The row of a run; of one that was ended before there was anything, a row that says so."""
        rows = {row["name"]: row for row in self.rows(now=True)}
        return rows.get(name, _empty(name) | {"state": "stopped"})

    def run(self, name: str) -> RunDirectory:
        """The folder of a run by its name: no other name leads to a file. ApiError (404) where there is none."""
        if name not in self._entries or not is_run(self._entries[name].run.path):
            self.row(name)
        if name not in self._entries:
            raise ApiError(409, f"{name} has no run yet; wait until its text is read", param="run", code="not_ready")
        return self._entries[name].run

    def place(self, name: str) -> RunDirectory:
        """The same, also of a run that is about to be made: its events will be there. ApiError (404) for others."""
        return RunDirectory(self.out / self.row(name)["name"]) if name not in self._entries else self.run(name)

    def training(self) -> list[str]:
        """The names of the runs that are being trained."""
        return [row["name"] for row in self.rows(now=True) if row["state"] in ("starting", "training")]

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Where the text of each run lies, by the run's name."""
        self.rows(now=True)
        return {name: entry.texts for name, entry in self._entries.items()}

    def _entry(self, run: RunDirectory) -> Entry:
        written = run.manifest_file.stat()
        entry = self._entries.get(run.name)
        if entry is None or entry.run.path != run.path:
            entry = Entry(run, Standing(run.events_file), _created(run))
        entry.standing.update()
        steps, rewritten = run.steps(), written.st_mtime_ns != entry.read_at
        if steps != entry.steps or rewritten:
            entry.steps, entry.size = steps, run.size()
        if rewritten:
            _describe(entry)
            entry.read_at = written.st_mtime_ns
        return entry

    def _row(self, entry: Entry) -> dict[str, Any]:
        run, standing, config = entry.run, entry.standing, entry.config
        state, problem = self._state(entry)
        row = _empty(run.name) | {
            "corpus": entry.corpus,
            "state": state,
            "problem": problem,
            "bytes": entry.size,
            "created": entry.created,
            "steps": entry.steps,
        }
        if config is None:
            return row
        row |= _shape(config) | _figures(standing, config)
        if state == "training":
            row |= _ahead(standing, row["max_iters"])
            row["memory"] = _resident(self.jobs.trainer(run))
        return row

    def _state(self, entry: Entry) -> tuple[str, str | None]:
        """One of STATES, and what is wrong."""
        name, end = entry.run.name, entry.standing.end
        if entry.broken:
            return "failed", entry.broken
        if self.jobs.alive(name):
            if end and entry.standing.written >= self.jobs.begun(name):  # all is said, the command still judges
                return _ended(end, stopped=self.jobs.stopped(name)), None
            return ("starting" if end or not entry.standing.told else "training"), None
        if end is None:
            return self._unended(entry)
        state = _ended(end, stopped=self.jobs.stopped(name))
        return state, end.get("message") if state == "failed" else self.jobs.problem(name)

    def _unended(self, entry: Entry) -> tuple[str, str | None]:
        """Of a run whose events do not say that it is over: trained by another, killed, counted or imported."""
        if holder_of(entry.run.lock_file) is not None:
            return "training", None
        if not entry.standing.told and entry.steps:
            return "done", None
        return "stopped", self.jobs.problem(entry.run.name) or "it ended without a word; resume goes on from its save"

    def _starting(self, job: Job) -> dict[str, Any]:
        alive = self.jobs.alive(job.name)
        problem = None if alive else self.jobs.problem(job.name) or "it ended before there was a run"
        return _empty(job.name) | {
            "model": job.model,
            "corpus": job.corpus,
            "state": "starting" if alive else "failed",
            "problem": problem,
            "created": int(job.begun),
        }


def _ended(end: dict[str, Any], *, stopped: bool) -> str:
    """The state of a run by its last event."""
    if end["event"] == "failed":
        return "failed"
    if end.get("reason") == "interrupted":
        return "stopped" if stopped else "paused"
    return "patience" if end.get("reason") == "patience" else "done"


def _created(run: RunDirectory) -> int:
    """When a run was made, in seconds since 1970: its tokenizer is written once, its manifest again at the end."""
    kept = run.tokenizer_file if run.tokenizer_file.exists() else run.manifest_file
    return int(kept.stat().st_mtime)


def _describe(entry: Entry) -> None:
    """Read what a run is; of a broken one what is wrong with it."""
    try:
        entry.config, entry.broken = entry.run.read_config(), None
        record = entry.run.read_corpus()
        entry.corpus, entry.texts = record["name"], tuple(record["paths"])
    except ClearheadError as error:
        entry.config, entry.broken = None, f"broken: {error}"


def _empty(name: str) -> dict[str, Any]:
    """A row of which nothing is known."""
    unknown = ("problem", "step", "max_iters", "val", "bits", "parameters", "rate", "left", "memory", "tokenizer")
    shape = ("preset", "layers", "heads", "block_size")
    return {
        "name": name,
        "model": "",
        "corpus": "",
        "state": "",
        **dict.fromkeys(unknown),
        "bytes": 0,
        "created": 0,
        "seconds": 0.0,
        "steps": [],
        **dict.fromkeys(shape),
    }


def _shape(config: RunConfig) -> dict[str, Any]:
    """What a configuration says of a model."""
    gpt = config.trained == "gpt"
    return {
        "model": config.model,
        "tokenizer": config.tokenizer.tokenizer,
        "preset": config.preset if gpt else None,
        "layers": config.architecture.n_layer if gpt else None,
        "heads": config.architecture.n_head if gpt else None,
        "block_size": config.train.block_size if config.model != "ngram" else None,
        "max_iters": config.train.max_iters if config.model != "ngram" else None,
    }


def _figures(standing: Standing, config: RunConfig) -> dict[str, Any]:
    """What its events have come to: the loss of the weights that count."""
    val = standing.val if config.train.dev_iters or standing.best_val is None else standing.best_val
    per_token = standing.started.get("characters_per_token")
    return {
        "step": standing.step,
        "val": val,
        "bits": val / math.log(2) / per_token if val is not None and per_token else None,
        "parameters": standing.started.get("parameters"),
        "seconds": standing.seconds,
    }


def _ahead(standing: Standing, max_iters: int | None) -> dict[str, Any]:
    """How fast it goes, in characters per second, and how many seconds are left."""
    pace, started = standing.pace, standing.started
    if not pace or not max_iters or not started:
        return {}
    per_token = started.get("train_characters_per_token", started["characters_per_token"])
    characters = started["tokens_per_step"] * per_token
    return {"rate": pace * characters, "left": max(0.0, (max_iters - standing.step) / pace)}


def _resident(pid: int | None) -> int | None:
    """Bytes that a process holds, where the system tells."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
