"""Lesson 14: from the lecture's GPT to today's."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Say, Table

if TYPE_CHECKING:
    from clearhead.experiments.experiment import Experiment, Outcome
    from clearhead.lessons.desk import Desk

CHANGES = (
    ("positions", "learned", "rope", "a table of places > queries and keys turned by their place"),
    ("norm", "layernorm", "rmsnorm", "mean and size set > only the size"),
    ("activation", "relu", "swiglu", "max(0, x) > one projection times a smooth gate of another"),
    ("optimizer", "adamw", "muon", "each number by itself > each matrix as a whole"),
)
"""Knob, the lecture's value, today's, and what it is."""
RATE, LOW_RATE = 1e-2, 1e-3
STEPS = 200
SHORT: dict[str, Any] = {"max_iters": STEPS, "eval_interval": STEPS, "eval_iters": 5}
"""Of each run; only its end is looked at."""

CODE = """
import torch
from torch.nn import functional as F

torch.manual_seed(1337)
T, C = 8, 16
x = torch.randn(T, C)
rmsnorm = x / x.square().mean(-1, keepdim=True).sqrt()  # LayerNorm without the mean
W, V, W2 = torch.randn(C, 40) / 4, torch.randn(C, 40) / 4, torch.randn(40, C) / 6
swiglu = (F.silu(rmsnorm @ W) * (rmsnorm @ V)) @ W2  # in the place of relu(x @ W) @ W2
angle = torch.arange(T)[:, None] * 10_000.0 ** (-torch.arange(0, C, 2) / C)  # (T, C / 2)
turn = torch.polar(torch.ones_like(angle), angle)
q = torch.view_as_real(torch.view_as_complex(torch.randn(C).expand(T, C).reshape(T, C // 2, 2)) * turn).flatten(1)
wei = q @ q.T  # the same vector at each place: what is left is the distance
assert torch.allclose(wei.diagonal(2), wei[0, 2].expand(T - 2), atol=1e-3)
print("weight by distance:", [f"{w:.1f}" for w in wei[0].tolist()], "| swiglu:", tuple(swiglu.shape))
"""


@dataclass(frozen=True)
class _Gain:
    """What one change makes of the loss, in nats per token; above 0 it is lower."""

    found: "Experiment"
    before: "Outcome"
    after: "Outcome"

    @property
    def nats(self) -> float:
        """The means' difference."""
        return self.before.nats_per_token - self.after.nats_per_token

    @property
    def interval(self) -> tuple[float, float] | None:
        """What chance leaves of it; None where the text is too short to say."""
        if self.found.comparison is None or self.found.comparison.differences[0].nats_per_token is None:
            return None
        best, interval = self.found.comparison.best, self.found.comparison.differences[0].nats_per_token
        return (-interval.high, -interval.low) if best else (interval.low, interval.high)

    @property
    def shown(self) -> bool:
        """Whether there is more than chance explains."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def words(self) -> str:
        """The gain and its interval."""
        between = f" ({self.interval[0]:+.3f} .. {self.interval[1]:+.3f})" if self.interval else ""
        return f"{self.nats:+.3f}{between}"

    def row(self, name: str) -> tuple[str, ...]:
        """A line of the table."""
        return (
            name,
            f"{self.before.nats_per_token:.4f}",
            f"{self.after.nats_per_token:.4f}",
            self.words,
            "yes" if self.shown else "no",
            f"{self.before.parameters:,} > {self.after.parameters:,}",
        )


HEAD = "change | before | after | gained, nats | shown | parameters"


def teach(desk: "Desk") -> Iterator[Part]:
    """Turn the lecture's four parts into today's, one at a time; then the learning rate, which nobody talks about."""
    yield Say(
        "Between the lecture's GPT and those of today lie four changes that everyone names. We take the lecture's, "
        f"small, and make one change at a time: {STEPS} steps at the rate {RATE:g}, the same batches, two seeds each."
    )
    yield Table.of("knob | lecture | today | what it is", CHANGES)
    choices = tuple((letter, f"{knob}: {new}") for letter, (knob, _, new, _) in zip("abcd", CHANGES, strict=True))
    yield Ask("Which change lowers the validation loss most?", choices)
    gains = {}
    for knob, old, new, _ in CHANGES:
        gains[knob] = yield from _turn(desk, knob, old, new, learning_rate=RATE)
    best = max(gains, key=lambda knob: gains[knob].nats)
    yield Answer("abcd"[list(gains).index(best)], f"It gains {gains[best].words} nats per token.")
    yield Table.of(HEAD, [gain.row(f"{knob}: {gain.after.values[0]}") for knob, gain in gains.items()], LEGEND)
    yield Say(f"All of these ran at the rate {RATE:g}. The rate is a number, not a part.")
    yield Ask(f"How many nats does the lecture's GPT gain when its rate goes from {LOW_RATE:g} to {RATE:g}?", near=0.2)
    rate = yield from _turn(desk, "learning_rate", LOW_RATE, RATE)
    yield Answer(round(rate.nats, 3), f"From {rate.before.nats_per_token:.4f} to {rate.after.nats_per_token:.4f}.")
    named = [(f"{knob}: {gain.after.values[0]}", max(0.0, gain.nats)) for knob, gain in gains.items()]
    yield Bars("nats gained", (*named, (f"rate: {LOW_RATE:g} > {RATE:g}", max(0.0, rate.nats))))
    yield Say(
        f"{STEPS} steps of a small model on {desk.corpus.name}: a longer training or a larger model may say something "
        "else. All changes at once, with rates of their own: clearhead try preset=lecture,modern"
    )
    yield from _gained(gains)
    yield from _not_shown(gains)
    yield _rate(gains, rate)


LEGEND = (
    "nats per token on the whole validation text; in brackets what the noise of the text and of two seeds leaves\n"
    "of it (95 %); shown: whether that leaves out 0"
)


def _turn(desk: "Desk", knob: str, old: Any, new: Any, **settings: Any) -> Generator[Part, None, _Gain]:
    """One change."""
    found = yield from desk.experiment({knob: [old, new]}, seeds=2, **SHORT, **settings)
    return _Gain(found, *found.outcomes)


def _gained(gains: dict[str, _Gain]) -> Iterator[Part]:
    for knob, about in (
        ("positions", "Rotary positions say how far apart two tokens stand, with no table to learn"),
        ("optimizer", "Muon turns the gradient of a matrix into one whose directions are all equally long"),
    ):
        gain = gains[knob]
        yield Claim(
            knob,
            gain.shown and gain.nats > 0,
            f"{about}: {gain.before.nats_per_token:.3f} nats become {gain.after.nats_per_token:.3f}, a gain of "
            f"{gain.words}.",
            f"{gain.after.values[0]} against {gain.before.values[0]}: {_said(gain)}.",
        )


def _not_shown(gains: dict[str, _Gain]) -> Iterator[Part]:
    for knob, note in (
        ("norm", "RMSNorm learns better than LayerNorm"),
        ("activation", "SwiGLU learns better than ReLU"),
    ):
        gain = gains[knob]
        yield Claim(
            knob,
            not (gain.shown and gain.nats > 0),
            f"{gain.after.values[0]} against {gain.before.values[0]}: {_said(gain)}. Who has seen one run of each "
            f"could tell any story: the seeds of {gain.after.values[0]} lie {_apart(gain.after):.3f} apart.",
            f"On this text it does: {gain.after.values[0]} gains {gain.words}.",
            note=note,
        )


def _said(gain: _Gain) -> str:
    if not gain.shown:
        return f"no difference shown, {gain.words}"
    return f"a {'gain' if gain.nats > 0 else 'loss'}, {gain.words}"


def _apart(outcome: "Outcome") -> float:
    losses: Sequence[float] = [trial.val_nats_per_token for trial in outcome.trials]
    return max(losses) - min(losses)


def _rate(gains: dict[str, _Gain], rate: _Gain) -> Claim:
    most = max(gains.values(), key=lambda gain: gain.nats)
    return Claim(
        "rate",
        rate.nats > most.nats,
        f"The rate gains more than any of the four: {rate.words} nats, the best of them {most.words}. At {LOW_RATE:g} "
        f"the lecture's GPT stood at {rate.before.nats_per_token:.3f} after as many steps. Who compares two optimizers "
        "at one rate compares how well that rate suits each.",
        f"Here the rate gains {rate.words} nats, and {most.after.values[0]} {most.words}.",
        note="a better architecture is what makes the difference",
    )


LESSON = Lesson(
    number=14,
    slug="today",
    title="From the lecture's GPT to today's",
    question="Which of the newer parts would make my GPT better?",
    teach=teach,
    code=CODE,
    views=("lens",),
    needs=5_000,
    because="differences between parts are smaller than the noise of a short text",
)
