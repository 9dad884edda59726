"""`clearhead inspect bigram`: what an entry of the table means, and whether the table has stabilised."""

from collections.abc import Sequence
from dataclasses import dataclass

from clearhead.cli.arguments import Words, parse, unescape
from clearhead.cli.inspect.common import Common, loaded, show
from clearhead.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Arguments(Common):
    """Hold a table of next tokens against the counts of the text: exactly how far from the best it is, and why.

    A bigram's own table; of a GPT or a mixture what it says on average, of an n-gram its order 2.
    """

    words: Words = ()
    """[A B] [RUN]: a token and the next, to see that entry; a run's folder or name (default: the newest)."""


def run(argv: Sequence[str]) -> int:
    """Show the verdict, or the entry."""
    arguments = parse(Arguments, "inspect bigram", argv)
    pair, name = _split(arguments.words)
    found = loaded(name, arguments).bigram(*map(unescape, pair))
    return show(found, arguments)


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The pair, if there is one, and the run."""
    if len(words) > 3:
        raise ConfigError(f"{len(words)} words are too many; give a pair of tokens and a run: A B RUN, or less")
    pair, rest = (words[:2], words[2:]) if len(words) > 1 else ((), words)
    return pair, rest[0] if rest else None
