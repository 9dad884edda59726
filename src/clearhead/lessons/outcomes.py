"""What lessons say of an experiment's settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clearhead.lessons.parts import Table

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.experiments.experiment import Outcome


def first_run(outcome: "Outcome") -> "Run":
    """The run of a setting with the first seed."""
    from clearhead.api import load

    return load(outcome.trials[0].run)


def losses(outcomes: "Sequence[Outcome]") -> Table:
    """Settings side by side."""
    rows = [
        (
            one.name,
            f"{one.nats_per_token:.3f}",
            f"{one.spread or 0:.3f}",
            f"{one.bits_per_char:.3f}",
            f"{one.parameters:,}",
        )
        for one in outcomes
    ]
    seeds, steps = len(outcomes[0].trials), outcomes[0].steps
    caption = f"on the whole validation text; means of {seeds} seeds and their standard deviation, {steps:,} steps each"
    return Table.of("setting | nats per token | +- | bits per character | parameters", rows, caption)


def always_lower(one: "Outcome", other: "Outcome", by: float = 0.0) -> bool:
    """Whether a setting's loss is lower than another's with every seed, by more than so many nats per token."""
    pairs = zip(one.trials, other.trials, strict=True)
    return all(a.val_nats_per_token < b.val_nats_per_token - by for a, b in pairs)
