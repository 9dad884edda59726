"""What verbs show: tables for a person, one JSON document for a script."""

import dataclasses
import json
import math
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from clearhead.evaluation.ladder import Ladder, Rung
from clearhead.training.console import duration


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


def print_ladder(ladder: Ladder) -> None:
    """A ladder as a table: each rung with what it gains over the one below it."""
    out = console()
    where = f"{ladder.val_characters:,} validation characters"
    if ladder.split == "train":
        where = f"no validation possible: these are training numbers, over {ladder.val_characters:,} characters"
    table = Table(title=f"The ladder of {ladder.corpus} ({where})", title_justify="left", box=None, pad_edge=False)
    table.add_column("rung", style="bold", no_wrap=True)
    for column in ("nats per\ntoken", "bits per\ncharacter", "gain", "parameters", "fitted in", "context"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    below: Rung | None = None
    for rung in ladder.rungs:
        table.add_row(*_cells(rung, below))
        below = rung
    out.print(table)
    out.print("[dim]gain: bits per character less than the rung above it in this table; lower loss is better[/dim]")


def _cells(rung: Rung, below: Rung | None) -> list[str]:
    gain = f"{below.bits_per_char - rung.bits_per_char:+.3f}" if below else ""
    about = ", ".join(part for part in (rung.run, rung.note) if part)
    if rung.tokenizer != "char":
        about = f"{rung.tokenizer} tokens, {about}" if about else f"{rung.tokenizer} tokens"
    return [
        rung.name,
        f"{rung.nats_per_token:.4f}",
        f"{rung.bits_per_char:.4f}",
        gain,
        f"{rung.parameters:,}",
        duration(rung.fit_seconds) if rung.fit_seconds is not None else "",
        f"{rung.context:,}",
        about,
    ]
