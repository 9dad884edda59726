"""`clearhead ladder`: what every model makes of one text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clearhead.cli.arguments import RUNS, Reading, Switch, Words, parse


@dataclass(frozen=True, kw_only=True)
class Arguments(Reading):
    """Score a text's counted models, and runs, on the same validation text.

    Name a text for its counted rungs, a run for its rungs and its model, several to compare them.
    """

    texts: Words = ()
    """Texts and runs (default: the built-in text)."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print the ladder."""
    arguments = parse(Arguments, "ladder", argv)

    from clearhead import api
    from clearhead.cli.report import ladder_document, print_json

    settings = {**asdict(arguments.data), **asdict(arguments.tokenizer)}
    ladder = api.ladder(*arguments.texts, out=arguments.out, **settings)
    if arguments.json:
        print_json(ladder_document(ladder))
    else:
        print(ladder)
    return 0
