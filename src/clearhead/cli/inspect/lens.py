"""`clearhead inspect lens`: what each layer would say, and which part says what."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from clearhead.cli.arguments import parse, unescape
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Read a GPT before its end: the next token that each layer would say, one logit taken apart into its parts.

    With --patch: where in the model, and at which position, two texts part.
    """

    text: tyro.conf.Positional[str | None] = None
    """The text to look at; \\n is a line end (default: where the validation text begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""
    position: int = -1
    """After which position the logit is taken apart; the first is 0, -1 is the last."""
    token: str | None = None
    """Whose logit (default: the likeliest)."""
    against: str | None = None
    """Take the difference from this token's logit."""
    patch: str | None = None
    """Another text of as many tokens: put the first one's stream into it, place by place."""


def run(argv: Sequence[str]) -> int:
    """Show what layers and parts say."""
    arguments = parse(Arguments, "inspect lens", argv)
    text, name = text_and_run(arguments.text, arguments.run, arguments)
    token, against, other = (
        None if words is None else unescape(words) for words in (arguments.token, arguments.against, arguments.patch)
    )
    found = loaded(name, arguments).lens(text, position=arguments.position, token=token, against=against, other=other)
    return show(found, arguments)
