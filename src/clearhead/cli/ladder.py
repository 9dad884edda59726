"""`clearhead ladder`: what every model makes of one text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.cli.arguments import RUNS, Reading, Switch, Words, parse
from clearhead.errors import ConfigError

if TYPE_CHECKING:
    from clearhead.evaluation.compare import Comparison, Side


@dataclass(frozen=True, kw_only=True)
class Arguments(Reading):
    """Score a text's counted models, and runs, on the same validation text.

    Name a text for its counted rungs, a run for its rungs and its model, several to compare them. With --compare:
    is one run better than another, or is it chance?
    """

    texts: Words = ()
    """Texts and runs (default: the built-in text)."""
    compare: tuple[str, ...] = ()
    """Two runs, A and B; or for a side runs of several seeds, as names with commas or a quoted pattern ('runs/a-*')."""
    out: Path = RUNS
    """The folder that holds runs."""
    json: Switch = False
    """Print one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Print the ladder."""
    arguments = parse(Arguments, "ladder", argv)

    from clearhead import api
    from clearhead.cli.report import print_json

    if arguments.compare:
        words = (*arguments.compare, *arguments.texts)
        if len(words) != 2:
            raise ConfigError(
                f"--compare takes two sides, not {len(words)} ({' '.join(words)}); quote patterns, and put commas "
                "between the runs of one side"
            )
        comparison = api.compare(*words, out=arguments.out)
        if arguments.json:
            print_json(comparison_document(comparison))
        else:
            print(comparison)
        return 0
    settings = {**asdict(arguments.data), **asdict(arguments.tokenizer)}
    ladder = api.ladder(*arguments.texts, out=arguments.out, **settings)
    if arguments.json:
        print_json(ladder.to_dict())
    else:
        print(ladder)
    return 0


def comparison_document(comparison: "Comparison") -> dict[str, Any]:
    """A comparison as the document that `ladder --compare --json` prints."""
    shown = asdict(comparison)
    units = ("bits_per_char", "nats_per_token")
    return {
        "corpus": comparison.corpus,
        "val_characters": comparison.val_characters,
        "a": _side_document(comparison.a),
        "b": _side_document(comparison.b),
        "difference": {unit: shown[unit] for unit in units},
        "better": comparison.better,
        "verdict": comparison.verdict,
        "blocks": comparison.blocks,
        "notes": comparison.notes,
    }


def _side_document(side: "Side") -> dict[str, Any]:
    each = zip(side.runs, side.nats_per_token, side.bits_per_char, strict=True)
    return {
        "model": side.model,
        "tokenizer": side.tokenizer,
        "nats_per_token": side.mean_nats_per_token,
        "bits_per_char": side.mean_bits_per_char,
        "runs": [{"run": run, "nats_per_token": nats, "bits_per_char": bits} for run, nats, bits in each],
    }
