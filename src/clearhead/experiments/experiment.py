"""What an experiment found: a row for every setting, its curves, and one sentence that says what differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from clearhead.evaluation.several import Difference, Several
from clearhead.evaluation.table import aligned
from clearhead.experiments.knobs import Setting
from clearhead.inspection.view import View
from clearhead.training.fitting import size
from clearhead.views import Shown


@dataclass(frozen=True)
class Curve:
    """A run's losses while it was trained, in nats per token."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    train: tuple[float, ...]
    val: tuple[float | None, ...]


@dataclass(frozen=True)
class Trial:
    """One run: a setting with one seed."""

    seed: int
    run: str
    """Its folder."""
    val_nats_per_token: float
    val_bits_per_char: float
    dev_nats_per_token: float | None
    """Over dev, which decides; None where the text is too short for it."""
    dev_bits_per_char: float | None
    tokens_per_second: float | None
    """In training, evaluations left out; None for a model that is counted."""
    seconds: float
    """Of training, evaluations included."""
    curve: Curve


@dataclass(frozen=True)
class Outcome:
    """One setting: its runs, and what they have in common."""

    name: str
    values: tuple[str, ...]
    trials: tuple[Trial, ...]
    parameters: int
    memory: int | None
    """Bytes: the most that weights, gradients, moments and activations take in a step; None for a counted model."""
    steps: int
    tokenizer: str
    predicts: bool
    """Whether it sees only what stands before: without a mask it does not."""

    @property
    def nats_per_token(self) -> float:
        """On validation, the mean over seeds."""
        return fmean(trial.val_nats_per_token for trial in self.trials)

    @property
    def bits_per_char(self) -> float:
        """On validation, the mean over seeds."""
        return fmean(trial.val_bits_per_char for trial in self.trials)

    @property
    def dev_bits_per_char(self) -> float | None:
        """On dev, the mean over seeds; None without one."""
        found = [trial.dev_bits_per_char for trial in self.trials if trial.dev_bits_per_char is not None]
        return fmean(found) if len(found) == len(self.trials) else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds, in nats per token; None for one seed."""
        losses = [trial.val_nats_per_token for trial in self.trials]
        return stdev(losses) if len(losses) > 1 else None


@dataclass(frozen=True)
class Tried:
    """A setting that a search has tried."""

    name: str
    run: str | None
    """None where it could not be trained."""
    dev_bits_per_char: float | None
    choice: tuple[Setting, ...]
    trouble: str | None = None
    """Why it could not be trained."""

    def __str__(self) -> str:
        """One line."""
        found = self.dev_bits_per_char
        return f"{self.name}: {self.trouble if found is None else f'{found:.4f} bits per character on dev'}"


@dataclass(frozen=True)
class Experiment(View):
    """Settings side by side on one text. `str` is the table, the verdict and what they do not know."""

    knobs: tuple[str, ...]
    """One name, or the two of a grid."""
    corpus: str
    val_characters: int
    setting: str
    """What all runs have in common, in words."""
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    comparison: Several | None
    """None where there is nothing to compare by: see `notes`."""
    notes: tuple[str, ...]
    tried: tuple[Tried, ...] = ()
    """What a search has tried before, in its order."""

    @property
    def title(self) -> str:
        """What was turned, on what."""
        count = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        return f"{' x '.join(self.knobs)} on {self.corpus}: {len(self.outcomes)} settings, {count} each"

    @property
    def best(self) -> Outcome:
        """The outcome with the lowest mean loss on validation, shown to differ or not."""
        return min(self.outcomes, key=lambda outcome: outcome.bits_per_char)

    @property
    def unit(self) -> str:
        """What the verdict is in: nats per token, or across tokenizers bits per character."""
        same = len({outcome.tokenizer for outcome in self.outcomes}) == 1
        return "nats per token" if same else "bits per character"

    @property
    def verdict(self) -> str:
        """What differs, and by how much, in one sentence."""
        if self.comparison is None:
            return "no difference shown: there is too little to compare by"
        return verdict(self)

    @property
    def shown(self) -> Shown:
        """With its figures: `shown.save("found.html")`, `shown.show()`."""
        return Shown(self)

    def outcome(self, *values: object) -> Outcome:
        """The outcome of a setting by its values: `outcome(8)`; KeyError when there is none."""
        words = tuple(map(str, values))
        found = [outcome for outcome in self.outcomes if outcome.values == words]
        if not found:
            raise KeyError(f"no setting {words}; there are {[outcome.values for outcome in self.outcomes]}")
        return found[0]

    def __str__(self) -> str:
        """The table, the verdict and the notes."""
        return "\n".join([self.setting, "", *aligned(list(table(self))), "", self.verdict, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON values, the verdict and the means among them."""
        document = super().to_dict()
        for outcome, row in zip(self.outcomes, document["outcomes"], strict=True):
            row |= {"nats_per_token": outcome.nats_per_token, "bits_per_char": outcome.bits_per_char}
            row |= {"spread": outcome.spread}
        return document | {"unit": self.unit, "verdict": self.verdict, "best": self.best.name}


def table(found: Experiment) -> Iterator[tuple[str, ...]]:
    """A line of titles, and one for every setting."""
    yield ("", "nats/token", "spread", "bits/char", "tokens/s", "memory", "seconds", "parameters", "steps", "")
    for outcome in found.outcomes:
        yield row(outcome)


def row(outcome: Outcome) -> tuple[str, ...]:
    """A setting's figures as text: mean loss over seeds and its standard deviation."""
    paces = [trial.tokens_per_second for trial in outcome.trials if trial.tokens_per_second is not None]
    return (
        outcome.name,
        f"{outcome.nats_per_token:.4f}",
        "" if outcome.spread is None else f"± {outcome.spread:.4f}",
        f"{outcome.bits_per_char:.4f}",
        f"{fmean(paces):,.0f}" if paces else "",
        "" if outcome.memory is None else size(outcome.memory),
        f"{fmean(trial.seconds for trial in outcome.trials):.1f}",
        f"{outcome.parameters:,}",
        f"{outcome.steps:,}",
        "",
    )


def verdict(found: Experiment) -> str:
    """The best against each, by what is shown and what is not."""
    assert found.comparison is not None
    best, differences = found.outcomes[found.comparison.best], found.comparison.differences
    shown = [difference for difference in differences if difference.shown]
    others = [found.outcomes[difference.other].name for difference in differences if not difference.shown]
    if not shown:
        widest = min(differences, key=lambda difference: difference.bits_per_char.value)
        return (
            f"no difference shown: the largest, {best.name} against {found.outcomes[widest.other].name}, is "
            f"{_amount(widest)} {found.unit}, which chance explains"
        )
    word = "best" if best.predicts else "lowest, for it sees what it is to predict"
    gains = ", ".join(f"than {found.outcomes[each.other].name} by {_amount(each)}" for each in shown)
    tail = f"; against {' and '.join(others)} no difference is shown" if others else ""
    return f"{best.name} is {word}: lower in {found.unit} {gains}{tail}"


def _amount(difference: Difference) -> str:
    interval = difference.bits_per_char if difference.nats_per_token is None else difference.nats_per_token
    return f"{-interval.value:.4f} ({-interval.high:.4f} .. {-interval.low:.4f})"
