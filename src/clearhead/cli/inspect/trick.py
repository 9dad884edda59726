"""`clearhead inspect trick`: the mathematical trick of self-attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Average the past of each token in four ways: loop, triangular matrix, softmax, attention with equal keys."""

    text: tyro.conf.Positional[str | None] = None
    """The text to look at; \\n is a line end (default: where the validation text begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""


def run(argv: Sequence[str]) -> int:
    """Show that they are one."""
    arguments = parse(Arguments, "inspect trick", argv)
    text, name = text_and_run(arguments.text, arguments.run, arguments)
    return show(loaded(name, arguments).trick(text), arguments)
