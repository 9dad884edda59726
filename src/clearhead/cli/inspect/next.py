"""`clearhead inspect next`: from logits to the next token."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run
from clearhead.config import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Show how the next token is drawn: logit, divided by T, cut by top-k and top-p, probability, the draw.

    The token is the one that clearhead generate writes first with these settings.
    """

    prompt: tyro.conf.Positional[str | None] = None
    """The text to go on from; \\n is a line end (default: none, as generate begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""
    temperature: float = SamplingConfig.temperature
    """Below 1 bolder, above 1 wilder; 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw from this many of the likeliest tokens only."""
    top_p: float | None = None
    """Draw from the likeliest tokens that hold this share of the probability."""
    seed: int = SamplingConfig.seed
    """Same seed, same token."""
    row: int = 0
    """Which sample of that seed; the first is 0."""


def run(argv: Sequence[str]) -> int:
    """Show the ladder and the draw."""
    arguments = parse(Arguments, "inspect next", argv)
    prompt, name = text_and_run(arguments.prompt, arguments.run, arguments)
    found = loaded(name, arguments).next(
        prompt,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
        row=arguments.row,
    )
    return show(found, arguments)
