"""`clearhead runs export`: a run in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write a run into one file that another machine can import: verified, and without any path of this machine.

    It holds what generates and what goes on training: settings, tokenizer, events, the best and the latest
    checkpoint, the mixture. The text is not in it.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    out: Path = RUNS
    """The folder that holds runs."""
    to: Path | None = None
    """The file to write (default: the run's name with .clearhead.zip, in the folder you are in)."""
    with_tokens: Switch = False
    """Put the text in as token ids: ladder and resume then need no text."""
    all: Switch = False
    """Put in all checkpoints, and TensorBoard's files."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Export, and print the file as the last line."""
    arguments = parse(Arguments, "runs export", argv)

    from clearhead.cli.report import print_json
    from clearhead.cli.runs.verify import progress
    from clearhead.runs.archive import default_archive, export_run
    from clearhead.runs.directory import find_run

    directory = find_run(arguments.run, arguments.out)
    target = arguments.to or default_archive(directory)
    with progress("exporting", directory.size()) as seen:
        files = export_run(directory, target, everything=arguments.all, with_tokens=arguments.with_tokens, seen=seen)
    size = target.stat().st_size
    if arguments.json:
        print_json({"run": str(directory.path), "archive": str(target), "files": files, "bytes": size})
        return 0
    print(f"{directory.path}: {files} files, {size / 1e6:.1f} MB; elsewhere: clearhead runs import {target.name}")
    print(target)
    return 0
