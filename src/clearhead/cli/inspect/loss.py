"""`clearhead inspect loss`: where the model is surprised, and what context is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from clearhead.cli.arguments import parse
from clearhead.cli.inspect.common import Common, loaded, show, text_and_run

if TYPE_CHECKING:
    from clearhead.inspection.surprisal import Surprisal

SHADES = ("#1b5e7a", "#2f7f6b", "#5c7f2e", "#9a7b12", "#b4571c", "#a3262a")
"""Behind tokens of 0, 1, ... bits; of 5 and more the last."""


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """The surprise of every token of a text, in bits, beside a counted bigram and n-gram.

    On validation text: which tokens cost most, where the model beats counting and where it loses, and what it gains
    from every doubling of the context that it sees.
    """

    text: tyro.conf.Positional[str | None] = None
    """The text to look at; \\n is a line end (default: where the validation text begins)."""
    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest); without a text it may stand alone."""


def run(argv: Sequence[str]) -> int:
    """Show where the bits go."""
    arguments = parse(Arguments, "inspect loss", argv)
    from clearhead.inspection.loss import Loss

    text, name = text_and_run(arguments.text, arguments.run, arguments)
    found = loaded(name, arguments).loss(text)
    if not arguments.json:
        assert isinstance(found.view, Loss)
        _print_coloured(found.view.text)
    return show(found, arguments)


def _print_coloured(text: "Surprisal") -> None:
    """The text with its bits as colours, where the terminal has colours."""
    from rich.text import Text

    from clearhead.cli.report import console

    screen = console()
    if screen.color_system is None:
        return
    shown = Text()
    for token, bits in zip(text.tokens, text.bits.tolist(), strict=True):
        shown.append(token, style=f"white on {SHADES[min(len(SHADES) - 1, int(bits))]}")
        shown.append("" if len(token) == 1 else " ")
    legend = Text("bits: ")
    for bits, shade in enumerate(SHADES):
        legend.append(f" {bits}{'+' * (bits == len(SHADES) - 1)} ", style=f"white on {shade}")
    screen.print(shown, legend, sep="\n")
