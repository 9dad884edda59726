"""`clearhead resume`: go on with an interrupted run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from clearhead.cli.arguments import RUNS, Processes, Switch, flags, given_flags, parse, said_once
from clearhead.cli.train import carry_out
from clearhead.config import RunConfig
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    from clearhead.runs.directory import RunDirectory
    from clearhead.training.job import Job


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Go on with an interrupted run where its last checkpoint stands: the same batches, the same result.

    With --max_iters it goes on to that step, also where it was complete: the learning rate begins again at its peak.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    max_iters: int | None = None
    """The step at which the run ends (default: as it was)."""
    parallel: Literal["ddp", "fsdp"] | None = None
    """How several processes train together from now on (default: as before)."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document; progress goes to standard error."""
    processes: Processes = field(default_factory=Processes)
    """Who trains."""


def run(argv: Sequence[str]) -> int:
    """Resume, judge, and print the run's folder."""
    with said_once():
        _refuse_changes(argv)
        arguments = parse(Arguments, "resume", argv)
    if arguments.processes.nproc:
        return arguments.processes.launch("resume", argv)

    from clearhead.api import resume_job
    from clearhead.runs.directory import find_run

    def make(_: "RunDirectory | None") -> "Job":
        return resume_job(find_run(arguments.run, arguments.out), arguments.max_iters, arguments.parallel)

    return carry_out(make, arguments.out, arguments.json)


def _refuse_changes(argv: Sequence[str]) -> None:
    """ConfigError for a setting that belongs to a run for good."""
    settings = {flag.removeprefix("--") for flag in flags(RunConfig())} - {"max_iters", "parallel"}
    for name in sorted(settings.intersection(given_flags(argv))):
        raise ConfigError(
            f"--{name} cannot change while a run goes on: its weights and moments belong to what was; "
            f"start another run from its weights: clearhead train --init_from RUN --{name} ..."
        )
