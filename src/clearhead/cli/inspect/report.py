"""`clearhead inspect report`: all that applies, in one HTML file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show

FILE = Path("report.html")


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Write one page of all views that apply to a run: it holds all it needs, and asks no network for anything.

    Without --html the page is report.html in this folder; with --json alone no page is written.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""


def run(argv: Sequence[str]) -> int:
    """Look with every view, write the page."""
    arguments = parse(Arguments, "inspect report", argv)
    if arguments.html is None and not arguments.json:
        arguments = replace(arguments, html=FILE)
    found = loaded(arguments.run, arguments).report(progress=lambda line: print(line, file=sys.stderr, flush=True))
    return show(found, arguments)
