"""`clearhead inspect init`: where each initialisation begins, and where it gets."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Which initialisation is best? Each named one, measured and trained for a few steps on the run's text.

    A GPT is started untied, tied and with a scaled embedding, always from the same seed and over the same batches.
    Nothing is written into the run.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    steps: int | None = None
    """Steps of each short run (default: as many as make about ten seconds in all for a small GPT)."""
    target: float | None = None
    """Nats per token to be reached (default: a loss that the text's own counts have)."""


def run(argv: Sequence[str]) -> int:
    """Print the table."""
    arguments = parse(Arguments, "inspect init", argv)
    found = loaded(arguments.run, arguments).init(
        steps=arguments.steps, target=arguments.target, progress=lambda line: print(line, file=sys.stderr)
    )
    return show(found, arguments)
