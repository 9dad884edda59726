"""`clearhead runs verify`: is every byte of a run what was written?"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import RUNS, Switch, Words, parse

if TYPE_CHECKING:
    from clearhead.runs.directory import RunDirectory
    from clearhead.runs.verification import Report

WORTH_A_BAR = 200_000_000
"""Bytes from which reading takes so long that one wants to see it."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Check every file of runs against the SHA-256 it was written with, and that what they say agrees.

    One line per run: ok, or what is wrong. Exit code 0 when all are whole, else 1.
    """

    runs: Words = ()
    """Folders or names of runs (default: all)."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Verify, a line as soon as a run has been read."""
    arguments = parse(Arguments, "runs verify", argv)

    from clearhead.cli.report import print_json
    from clearhead.runs.verification import runs_to_verify, verify_run

    directories = _named(arguments.runs, arguments.out) if arguments.runs else runs_to_verify(arguments.out)
    reports = []
    with progress("verifying", sum(directory.size() for directory in directories)) as seen:
        for directory in directories:
            reports.append(verify_run(directory, seen))
            if not arguments.json:
                print(_line(reports[-1]), flush=True)
    broken = sum(not report.ok for report in reports)
    if arguments.json:
        print_json({"ok": not broken, "runs": [_row(report) for report in reports]})
    elif not reports:
        print(f"no run in {arguments.out} yet; make one with: clearhead train")
    elif broken:
        print(
            f"{broken} of {len(reports)} not whole: restore the files that are named from a copy; where only "
            "checkpoints are broken, clearhead resume RUN goes on from the newest whole one",
            file=sys.stderr,
        )
    return 1 if broken else 0


def _named(words: Sequence[str], out: Path) -> "list[RunDirectory]":
    """The runs of these names, damaged ones too; CheckpointError for one that is none."""
    from clearhead.runs.directory import RunDirectory, find_run
    from clearhead.runs.verification import looks_like_run

    found = []
    for word in words:
        paths = [path for path in (Path(word), out / word) if looks_like_run(path)]
        found.append(RunDirectory(paths[0]) if paths else find_run(word, out))
    return found


def _line(report: "Report") -> str:
    said = [*map(str, report.faults)] or [f"ok, {report.files} files, {report.size / 1e6:.1f} MB"]
    if report.ok and not report.sealed:
        said.append("not sealed: its training has not ended")
    return f"{report.run.path}: " + "; ".join([*said, *map(str, report.notes)])


def _row(report: "Report") -> dict[str, Any]:
    return {
        "run": str(report.run.path),
        "ok": report.ok,
        "sealed": report.sealed,
        "faults": [{"file": fault.where, "what": str(fault)} for fault in report.faults],
        "notes": [str(note) for note in report.notes],
        "files": report.files,
        "bytes": report.size,
    }


@contextmanager
def progress(doing: str, size: int) -> Iterator[Callable[[int], None]]:
    """What takes the size of each file that was read, and shows it on a terminal when there is much to read."""
    if size < WORTH_A_BAR or not sys.stderr.isatty():
        yield lambda seen: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    console, redirect = Console(stderr=True), sys.stdout.isatty()  # what is piped must not go to the bar's console
    with Progress(*columns, console=console, redirect_stdout=redirect, transient=True) as bar:
        task = bar.add_task(doing, total=size)
        yield lambda seen: bar.update(task, advance=seen)
