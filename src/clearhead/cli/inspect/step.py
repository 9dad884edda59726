"""`clearhead inspect step`: one pass through the model, and one training step."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import Switch, parse
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Send a text through the model and show every stage: name, shape, numbers.

    With --backward: one training step on this text, in a copy of the weights; the run stays as it is.
    """

    text: tyro.conf.Positional[str | None] = None
    """The text to look at; \\n is a line end (default: where the validation text begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""
    layer: int = 0
    """The block that is shown stage by stage; the first is 0."""
    backward: Switch = False
    """Make one training step, and show what moved."""


def run(argv: Sequence[str]) -> int:
    """Show the stages."""
    arguments = parse(Arguments, "inspect step", argv)
    text, name = text_and_run(arguments.text, arguments.run, arguments)
    found = loaded(name, arguments).one_step(text, block=arguments.layer, backward=arguments.backward)
    return show(found, arguments)
