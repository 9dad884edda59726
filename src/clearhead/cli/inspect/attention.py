"""`clearhead inspect attention`: what each head looks at, and what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Show what each head looks at on a text, and what the loss is without it.

    With --layer and --head: one head's chain, q.k, scale, mask, softmax, times v.
    """

    text: tyro.conf.Positional[str | None] = None
    """The text to look at; \\n is a line end (default: where the validation text begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""
    layer: int | None = None
    """Only this layer; the first is 0."""
    head: int | None = None
    """Of that layer this head, stage by stage."""
    position: int = -1
    """The position whose row of the chain is printed; -1 is the last."""


def run(argv: Sequence[str]) -> int:
    """Show the heads."""
    arguments = parse(Arguments, "inspect attention", argv)
    text, name = text_and_run(arguments.text, arguments.run, arguments)
    found = loaded(name, arguments).attention(
        text,
        layer=arguments.layer,
        head=arguments.head,
        position=arguments.position,
    )
    return show(found, arguments)
