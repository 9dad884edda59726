"""Training as processes: begun, asked to save and end, gone on with; what was begun is written down beside the runs."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clearhead.files import write_atomic
from clearhead.runs.directory import RunDirectory
from clearhead.runs.lock import holder_of
from clearhead.studio.processes import Processes, ask_to_end, complaint

LAST_WORDS = 20.0
"""Seconds that a command may take to judge a run that is trained, before the run is changed."""


@dataclass(frozen=True)
class Job:
    """The latest command that was begun for a run."""

    name: str
    """The run's."""
    words: tuple[str, ...] = ()
    """Of the command, `clearhead` left out; () for a run that was not begun here."""
    pid: int = 0
    begun: float = 0.0
    """Seconds since 1970."""
    model: str = ""
    corpus: str = ""
    stopped: bool = False
    """Stopped for good: the run is not called paused."""


class Jobs:
    """The jobs of a folder of runs, by the runs' names."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes
        self._known = {job.name: job for job in map(_read, folder.glob("*.json")) if job}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def all(self) -> list[Job]:
        """Every job, the oldest first."""
        return sorted(self._known.values(), key=lambda job: job.begun)

    def log(self, name: str) -> Path:
        """What the command prints."""
        return self.folder / f"{name}.log"

    def begin(self, name: str, words: Sequence[str], model: str = "", corpus: str = "") -> Job:
        """Run `clearhead WORDS` for a run, in a process of its own."""
        pid = self.processes.start(self.log(name), "clearhead", words)
        return self._keep(Job(name, tuple(words), pid, time.time(), model, corpus))

    def alive(self, name: str) -> bool:
        """Whether the command still runs."""
        return name in self._known and self.processes.alive(self.log(name))

    def over(self, name: str) -> bool:
        """Wait for a command whose run is trained to say what came of it; whether it has ended."""
        return self.processes.wait(self.log(name), LAST_WORDS)

    def begun(self, name: str) -> float:
        """When the command was begun, in seconds since 1970."""
        return self._known[name].begun

    def trainer(self, run: RunDirectory) -> int | None:
        """The process that trains a run, begun here or elsewhere."""
        if self.alive(run.name):
            return self._known[run.name].pid
        return holder_of(run.lock_file)

    def end(self, run: RunDirectory, *, for_good: bool) -> None:
        """Ask whoever trains a run to save and end."""
        if for_good:
            before = asdict(self._known.get(run.name, Job(run.name)))
            self._keep(Job(**{**before, "stopped": True}))
        if (pid := self.trainer(run)) is not None:
            ask_to_end(pid)

    def stopped(self, name: str) -> bool:
        """Whether a run was stopped for good."""
        return name in self._known and self._known[name].stopped

    def problem(self, name: str) -> str | None:
        """Why the command ended before it did what it was for; None where it said nothing."""
        return complaint(self.log(name)) if name in self._known else None

    def rename(self, name: str, new: str) -> None:
        """The run has another name."""
        if (job := self._known.pop(name, None)) is not None:
            with suppress(OSError):
                self.log(name).replace(self.log(new))
            self._keep(Job(**{**asdict(job), "name": new}))
            self._record(name).unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """The run is gone."""
        self._known.pop(name, None)
        for file in (self._record(name), self.log(name)):
            file.unlink(missing_ok=True)

    def _record(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _keep(self, job: Job) -> Job:
        self._known[job.name] = job
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._record(job.name), json.dumps(asdict(job)) + "\n")
        return job


def _read(file: Path) -> Job | None:
    """A job as it was written down; None for a file that says something else."""
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Job(**{**record, "words": tuple(record["words"]), "name": file.stem})
    except (OSError, ValueError, TypeError, KeyError):
        return None
