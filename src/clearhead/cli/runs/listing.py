"""`clearhead runs` alone: what has been trained here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import RUNS, Switch, parse

if TYPE_CHECKING:
    from clearhead.runs.directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the runs: corpus, model, loss, date, size.

    There are three actions, each with its own --help:

    clearhead runs verify [RUN ...]: is every byte of them what was written?

    clearhead runs export RUN: one file of a run, for another machine.

    clearhead runs import FILE: the run in such a file, verified.
    """

    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run_listing(argv: Sequence[str]) -> int:
    """Print a table of runs, oldest first; a broken one is listed with what is wrong."""
    arguments = parse(Arguments, "runs", argv)

    from clearhead.cli.report import console, print_json
    from clearhead.runs.directory import all_runs

    rows = [_row(directory) for directory in all_runs(arguments.out)]
    if arguments.json:
        print_json({"runs": rows})
        return 0
    if not rows:
        print(f"no run in {arguments.out} yet; make one with: clearhead train")
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("run", "corpus", "model"):
        table.add_column(column, overflow="fold")
    for column in ("step", "val nats", "date", "size"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        val = "" if row["val"] is None else f"{row['val']:.4f}"
        table.add_row(
            *(escape(row[name]) for name in ("run", "corpus", "model")),
            row["state"].partition(":")[0] if row["step"] is None else f"{row['step']:,}/{row['max_iters']:,}",
            val,
            row["date"],
            f"{row['bytes'] / 1e6:.1f} MB",
        )
    console().print(table)
    for row in rows:
        if row["state"].startswith("broken"):
            print(f"{row['run']} is {row['state']}")
    return 0


def _row(directory: "RunDirectory") -> dict[str, Any]:
    from clearhead.errors import ClearheadError

    row: dict[str, Any] = {
        "run": str(directory.path),
        "corpus": "",
        "model": "",
        "state": "",
        "step": None,
        "max_iters": None,
        "val": None,
        "date": time.strftime("%Y-%m-%d %H:%M", time.localtime(directory.manifest_file.stat().st_mtime)),
        "bytes": directory.size(),
    }
    try:
        config = directory.read_config()
        evaluations = [event for event in directory.read_events() if event["event"] == "evaluated"]
        decided = [] if config.train.dev_iters else [event for event in evaluations if event["best"]]
        best = decided or evaluations
        row |= {
            "corpus": str(directory.read_corpus()["name"]),
            "model": config.model,
            "val": float(best[-1]["val"]) if best and best[-1]["val"] is not None else None,
            "state": "counted" if config.model == "ngram" else "not started",
        }
        if config.model != "ngram" and (step := directory.pointer("latest")) is not None:
            row |= {"step": step, "max_iters": config.train.max_iters, "state": "trained"}
    except ClearheadError as error:
        row["state"] = f"broken: {error}"
    except (KeyError, TypeError, ValueError):
        row["state"] = f"broken: see clearhead runs verify {directory.path}"
    return row
