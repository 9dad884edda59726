"""Lesson 3: has the table stabilised?"""

from collections.abc import Iterator, Sequence
from math import log
from typing import TYPE_CHECKING

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Say, Table
from clearhead.lessons.words import times

if TYPE_CHECKING:
    from clearhead.inspection.bigram import Bigram
    from clearhead.inspection.signals import Signal
    from clearhead.lessons.desk import Desk

STEPS, RATE, SLOW = 3_000, 0.03, 0.003
"""Of the shared bigram; the other has a tenth of the rate."""
FEW = 500
"""Steps that are often thought to be enough, rounded up to an evaluation."""

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
N = torch.zeros(len(chars), len(chars))
N.index_put_((data[:-1], data[1:]), torch.ones(len(data) - 1), accumulate=True)  # counts of all pairs
P = N / N.sum(1, keepdim=True).clamp(min=1)
floor = -(N * P.clamp(min=1e-9).log()).sum() / N.sum()  # the least that any table can lose
torch.manual_seed(1337)
table = torch.randn(len(chars), len(chars), requires_grad=True)
for step in range(1, 301):
    loss = -(N * F.log_softmax(table, dim=-1)).sum() / N.sum()  # over all pairs at once
    (gradient,) = torch.autograd.grad(loss, table)
    with torch.no_grad():
        table -= 10 * gradient
    if step % 100 == 0:
        print(f"step {step}: loss {loss:.4f}, {loss - floor:.4f} above the floor of {floor:.4f}")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """The same steps at two learning rates; then what people go by, beside the exact distance from the best table."""
    yield Say(
        "The counts of your text say exactly what the best table would lose: the entropy of the next character given "
        "the current one. So for a bigram, and for few other models, 'how far is it?' has an exact answer. We train "
        f"it twice, {STEPS:,} steps on the same batches: at the rate {RATE:g}, and at a tenth of that, {SLOW:g}. In "
        "the end the rows of the second move much less in a step than those of the first."
    )
    choices = (
        ("a", "the one whose rows still move"),
        ("b", "the one whose rows stand nearly still"),
        ("c", "equally near"),
    )
    yield Ask("Which table is nearer to the best there is?", choices)
    fast = yield from desk.bigram()
    slow = yield from desk.train("slow", model="bigram", learning_rate=SLOW, min_lr=3e-5, max_iters=STEPS)
    moving = yield from desk.inspect(fast, "bigram")
    still = yield from desk.inspect(slow, "bigram")
    a, b = moving.view, still.view
    gaps = a.bits.gap, b.bits.gap
    nearer = "c" if max(gaps) < 1.1 * min(gaps) else "ab"[gaps.index(min(gaps))]
    yield Answer(
        nearer, f"The first is {a.bits.gap:.4f} bits per character above the floor, the second {b.bits.gap:.4f}."
    )
    if a.step != b.step:
        yield Say(
            f"(A run's weights are those that dev liked best: here those of step {a.step:,} and of step {b.step:,}. "
            "The bars below are the whole history.)"
        )
    yield Say(
        f"The floor is {_floor(a):.4f} nats ({a.bits.floor:.4f} bits) on the training text: no table of pairs, however "
        "long it is trained, can lose less."
        + " It is the 2.45 that the lecture's bigram approaches."
        * (desk.is_shakespeare and f"{_floor(a):.2f}" == "2.45")
    )
    yield Bars("bits above the floor, after each number of steps, rate " + f"{RATE:g}", _history(a), ".4f")
    yield Bars(f"the same, rate {SLOW:g}", _history(b), ".4f")
    yield still.picture("history", "the gap of the slower table through training, on a log scale")
    yield Table.of(f"what people go by | rate {RATE:g} | rate {SLOW:g} | in", _signals(a, b))
    yield from _verdict(a, b)


def _floor(view: "Bigram") -> float:
    return view.bits.floor * log(2)


def _history(view: "Bigram") -> tuple[tuple[str, float], ...]:
    """The gap at each second evaluation."""
    return tuple((f"{moment.step:,}", moment.gap) for moment in view.history[::2])


def _signals(a: "Bigram", b: "Bigram") -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (one.name, f"{one.value:+.1e}", f"{other.value:+.1e}", one.unit)
        for one, other in zip(a.signals, b.signals, strict=True)
    ]
    return [*rows, ("bits above the floor", f"{a.bits.gap:.4f}", f"{b.bits.gap:.4f}", "exact")]


def _named(view: "Bigram", name: str) -> "Signal":
    return next(signal for signal in view.signals if signal.name == name)


def _verdict(a: "Bigram", b: "Bigram") -> Iterator[Part]:
    plateau, rows, cells = (_named(b, name) for name in ("loss plateau", "rows move (L1)", "|softmax - counts|"))
    yield Claim(
        "plateau",
        bool(plateau.looks_done) and b.stabilised is False,
        f"Between its last two evaluations the slow table's loss moved by {abs(plateau.value):.4f} nats, which looks "
        f"like an end; it is {b.bits.gap:.4f} bits above the floor, {times(b.bits.gap, b.threshold)} times the "
        f"threshold of {b.threshold:g}.",
        f"Here the slow table's loss still moved by {abs(plateau.value):.4f} nats, or its gap of {b.bits.gap:.4f} "
        f"bits is below the threshold of {b.threshold:g}: the plateau did not mislead.",
        note="the loss has plateaued, so it has converged",
    )
    moved = _named(a, "rows move (L1)").value
    yield Claim(
        "stillness",
        rows.value < 1e-4 and rows.value < moved and b.bits.gap > a.bits.gap,
        f"The slow table's rows move {rows.value:.1e} in a step, {times(moved, rows.value)} times less than the "
        f"other's; and it is {times(b.bits.gap, a.bits.gap)} times as far from the best. Stillness measures the "
        "learning rate.",
        f"Here rows move {rows.value:.1e} a step in the slow table and {moved:.1e} in the other; their gaps are "
        f"{b.bits.gap:.4f} and {a.bits.gap:.4f} bits.",
        note="a row change below 1e-4 means that the table has stabilised",
    )
    yield Claim(
        "mean difference",
        cells.value < 0.01 and b.stabilised is False,
        f"On average over all cells the slow table differs from the counts by {cells.value:.4f}. That sounds like "
        f"nothing, but {_shares_far(b)}: most cells are near 0 in both, and the mean is made of them.",
        f"Here the mean difference from the counts is {cells.value:.4f}, with a gap of {b.bits.gap:.4f} bits.",
        note="the mean difference from the counts is small, so the table is right",
    )
    early = next((moment for moment in a.history if moment.step >= FEW), a.history[-1])
    last = a.history[-1]
    yield Claim(
        "few hundred",
        early.gap > a.threshold and last.gap < early.gap,
        f"After {early.step:,} steps at the faster rate the gap was {early.gap:.4f} bits, after {last.step:,} it was "
        f"{last.gap:.4f}: {times(early.gap, last.gap)} times less. Whether a number of steps is enough depends on the "
        f"rate: at the slower one it was {_at(b, early.step):.4f} after as many.",
        f"Here the gap after {early.step:,} steps was {early.gap:.4f} bits already, after {last.step:,} "
        f"{last.gap:.4f}.",
        note="a few hundred iterations are enough",
    )


def _shares_far(view: "Bigram") -> str:
    return f"{len(view.rows)} of {len(view.tokens)} rows are more than {view.threshold:g} bits from their counts"


def _at(view: "Bigram", step: int) -> float:
    return next(moment.gap for moment in view.history if moment.step >= step)


LESSON = Lesson(
    number=3,
    slug="stabilised",
    title="Has it stabilised?",
    question="The loss no longer falls. Is the table done?",
    teach=teach,
    code=CODE,
    views=("bigram",),
    needs=2_000,
    because="without a validation text and a few batches there is no history to read",
)
