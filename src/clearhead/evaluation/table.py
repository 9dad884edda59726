"""A ladder as text: what `print(run.ladder())` and `clearhead ladder` show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearhead.evaluation.ladder import Ladder, Rung

HEAD = (
    ("", "nats per", "bits per", "", "", "", "", ""),
    ("rung", "token", "character", "gain", "parameters", "fitted in", "context", ""),
)
LEGEND = "gain: bits per character less than the rung above it in this table; lower loss is better"


def ladder_table(ladder: "Ladder") -> str:
    """A title, a line for each rung with what it gains over the one above it, and a legend."""
    where = f"{ladder.val_characters:,} validation characters"
    if ladder.split == "train":
        where = f"no validation possible: these are training numbers, over {ladder.val_characters:,} characters"
    below = [None, *ladder.rungs]
    rows = [*HEAD, *map(_cells, ladder.rungs, below)]
    return "\n".join([f"The ladder of {ladder.corpus} ({where})", *aligned(rows), LEGEND])


def _cells(rung: "Rung", below: "Rung | None") -> tuple[str, ...]:
    about = [f"{rung.vocab_size:,} {rung.tokenizer} tokens"] * (rung.tokenizer != "char") + [rung.run or "", rung.note]
    return (
        rung.name,
        f"{rung.nats_per_token:.4f}",
        f"{rung.bits_per_char:.4f}",
        f"{below.bits_per_char - rung.bits_per_char:+.3f}" if below else "",
        f"{rung.parameters:,}",
        "" if rung.fit_seconds is None else f"{rung.fit_seconds:,.1f} s",
        f"{rung.context:,}",
        ", ".join(filter(None, about)),
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, the first and the last to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in (0, len(row) - 1) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
