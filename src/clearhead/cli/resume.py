"""`clearhead resume`: go on with an interrupted run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse
from clearhead.cli.train import conclude


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Go on with an interrupted run where its last checkpoint stands: the same batches, the same result."""

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document; progress goes to standard error."""


def run(argv: Sequence[str]) -> int:
    """Resume, judge, and print the run's folder."""
    arguments = parse(Arguments, "resume", argv)

    from clearhead.api import finish, resume_job
    from clearhead.runs.directory import find_run
    from clearhead.training.sinks import console

    job = resume_job(find_run(arguments.run, arguments.out))
    return conclude(finish(job, [console(sys.stderr if arguments.json else sys.stdout)]), arguments.json)
