"""`clearhead runs import`: the run in a file, verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse
from clearhead.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Unpack a run that `clearhead runs export` wrote, under a free name. It is verified before it appears.

    It generates at once. For ladder and resume put its text into the folder you are in, unless its tokens came along.
    """

    file: tyro.conf.Positional[Path | None] = None
    """The file to import."""
    out: Path = RUNS
    """The folder that holds runs."""
    name: str | None = None
    """The run's name here (default: the one it had)."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Import, and print the run's folder as the last line."""
    arguments = parse(Arguments, "runs import", argv)
    if arguments.file is None:
        raise ConfigError("runs import wants a file; name the one that clearhead runs export printed")

    from clearhead.cli.report import print_json
    from clearhead.cli.runs.verify import progress
    from clearhead.runs.archive import import_run

    size = arguments.file.stat().st_size if arguments.file.is_file() else 0
    with progress("verifying", size) as seen:
        directory = import_run(arguments.file, arguments.out, arguments.name, seen=seen)
    if arguments.json:
        print_json({"run": str(directory.path), "bytes": directory.size()})
        return 0
    print(f"verified, {directory.size() / 1e6:.1f} MB; let it write: clearhead generate {directory.path}")
    print(directory.path)
    return 0
