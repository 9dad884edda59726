"""What verbs show: tables for a person, one JSON document for a script."""

import dataclasses
import json
import math
import sys
from typing import Any

from rich.console import Console

from clearhead.evaluation.ladder import Ladder


def console() -> Console:
    """Standard output as a rich console that marks up nothing by itself; a pipe is 120 columns wide."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output, and nothing else. What is not finite becomes null."""
    json.dump(_finite(document), sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ladder_document(ladder: Ladder) -> dict[str, Any]:
    """A ladder as the document that `ladder --json` prints."""
    return {
        "corpus": ladder.corpus,
        "val_characters": ladder.val_characters if ladder.split == "val" else 0,
        "split": ladder.split,
        "rungs": [dataclasses.asdict(rung) for rung in ladder.rungs],
    }
