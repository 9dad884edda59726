"""`clearhead memorisation`: does a model copy its training text?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse
from clearhead.config import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Draw samples, and show what they share with the training text, beside what validation text shares with it.

    The longest passage that stands in both, and the share of passages of each length that are new.
    """

    run: tyro.conf.Positional[str | None] = None
    """A run's folder or name (default: the newest)."""
    samples: int = 8
    """Texts to draw, from the empty prompt."""
    max_new_tokens: int = SamplingConfig.max_new_tokens
    """Tokens of each; an end-of-text does not end it."""
    temperature: float = SamplingConfig.temperature
    """Below 1 bolder, above 1 wilder; 0 always takes the likeliest token."""
    top_k: int | None = SamplingConfig.top_k
    """Draw from this many of the likeliest tokens only."""
    top_p: float | None = SamplingConfig.top_p
    """Draw from the likeliest tokens that hold this share of the probability."""
    seed: int = SamplingConfig.seed
    """Same seed, same samples."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print the report."""
    arguments = parse(Arguments, "memorisation", argv)

    from clearhead import api
    from clearhead.cli.report import print_json

    settings = {k: v for k, v in asdict(arguments).items() if k not in ("run", "out", "json")}
    trained = api.load(arguments.run, out=arguments.out)
    report = trained.memorisation(**settings)
    if arguments.json:
        print_json({"run": str(trained.path), **asdict(report), "copies": report.copies, "reading": report.reading})
    else:
        print(report)
    return 0
