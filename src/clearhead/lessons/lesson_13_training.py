"""Lesson 13: training and evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from clearhead.lessons.estimates import BATCHES, Spread, spreads_of, whole_loss
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.outcomes import first_run
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.trying import pictured
from clearhead.lessons.words import times

if TYPE_CHECKING:
    from clearhead.experiments.experiment import Experiment, Outcome
    from clearhead.lessons.desk import Desk

SLICE = 10_000
"""Characters that are learned by heart; of a short text half of it."""
SIZE: dict[str, Any] = {"preset": "modern", "n_layer": 2, "n_head": 4, "n_embd": 64, "batch_size": 16}
STEPS = 300
DRAWS = 50
"""Times that a batch is put through a model whose dropout is on."""

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text[:5000]])
torch.manual_seed(1337)
model = nn.Sequential(nn.Embedding(len(chars), 32), nn.Dropout(0.2), nn.Linear(32, len(chars)))
x, y = data[:-1], data[1:]
for training in (True, False):
    model.train(training)
    twice = [F.cross_entropy(model(x), y).item() for _ in range(2)]
    print("training  " if training else "evaluation", *(f"{loss:.4f}" for loss in twice))
ix = torch.randint(len(data) - 1, (200, 32))  # 200 batches of 32 characters
losses = torch.stack([F.cross_entropy(model(data[i]), data[i + 1]) for i in ix]).detach()
print(f"a batch: {losses.mean():.3f} +- {losses.std():.3f}; 20 averaged: +- {losses.view(10, 20).mean(1).std():.3f}")
"""


@dataclass(frozen=True)
class _Modes:
    """The same batch, put through the same weights again and again."""

    training: tuple[float, ...]
    evaluation: tuple[float, ...]


def teach(desk: "Desk") -> Iterator[Part]:
    """Dropout in both modes; a text learned by heart, without and with it; what an average of batches is worth."""
    part = _slice(desk)
    yield Say(
        f"We let a small GPT learn {part.characters:,} characters of your text by heart: {STEPS} steps of "
        f"{SIZE['batch_size']} windows, once without dropout and once with 0.2, two seeds each. Nine tenths of them "
        f"are learned, the last tenth judges. They lie in {part.words[0]}."
    )
    choices = (("a", "yes, always"), ("b", "no, never"), ("c", "only in evaluation mode"))
    yield Ask("The same weights, dropout 0.2, see the same batch twice. Do they give the same loss twice?", choices)
    trying = part.experiment({"dropout": [0, 0.2]}, seeds=2, **SIZE, max_iters=STEPS)
    found, picture = yield from pictured(trying, "validation loss through training, without dropout and with it")
    plain, dropped = found.outcome("0"), found.outcome("0.2")
    modes = _modes(part, dropped)
    same = (modes.training[0] == modes.training[1], modes.evaluation[0] == modes.evaluation[1])
    yield Answer(
        {(True, True): "a", (False, False): "b"}.get(same, "c"),
        "In training mode dropout draws anew each time which fifth of the numbers it sets to zero; in evaluation mode "
        "(model.eval()) it lets all pass.",
    )
    rows = [
        (name, f"{losses[0]:.4f}", f"{losses[1]:.4f}", f"{fmean(losses):.4f}")
        for name, losses in (("training", modes.training), ("evaluation", modes.evaluation))
    ]
    yield Table.of(f"mode | first time | second time | mean of {DRAWS}", rows, "one batch, one model, nats")
    yield Ask(f"Without dropout: after how many of the {plain.steps} steps is the validation loss lowest?", near=0.25)
    curves = {outcome: _Curve.of(outcome, found) for outcome in (plain, dropped)}
    yield Answer(
        curves[plain].lowest, "Estimated at the steps in the table, mean of both seeds; training goes on after it."
    )
    yield _curves(curves[plain], curves[dropped], part)
    yield picture
    yield Say(
        "Each figure in that table is an average over 20 random batches. Why not one? The shared GPT, which is at rest "
        f"now, on {BATCHES} batches of validation text:"
    )
    run = yield from desk.gpt()
    spreads = spreads_of(run)
    yield Table.of(
        "batches averaged | lowest | highest | spread",
        [(each.averaged, f"{each.low:.3f}", f"{each.high:.3f}", f"{each.spread:.4f}") for each in spreads],
        f"nats; the whole validation text gives {whole_loss(run):.4f}",
    )
    yield from _dropout_verdict(modes, curves[plain], curves[dropped], found)
    yield from _averaging_verdict(spreads)
    yield _epoch(part, plain)


def _slice(desk: "Desk") -> "Desk":
    """The beginning of the training text, as a text of its own."""
    from clearhead.files import write_atomic

    text = "".join(desk.corpus.train)
    path = desk.folder / "slice.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text[: min(SLICE, len(text) // 2)])
    return desk.on(str(path))


def _modes(desk: "Desk", outcome: "Outcome") -> _Modes:
    """The first seed's run in both modes, on its first batch."""
    import torch

    run = first_run(outcome)
    train = run.config.train
    x, y = desk.data.get_batch("train", 0, batch_size=train.batch_size, block_size=train.block_size, seed=train.seed)
    losses: dict[bool, list[float]] = {True: [], False: []}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        for training, found in losses.items():
            run.model.train(training)
            found += [float(run.model(x.to(run.model.device), y.to(run.model.device))[1]) for _ in range(DRAWS)]
    return _Modes(tuple(losses[True]), tuple(losses[False]))


@dataclass(frozen=True)
class _Curve:
    """Estimates while training, means over seeds."""

    steps: tuple[int, ...]
    train: tuple[float, ...]
    val: tuple[float, ...]

    @classmethod
    def of(cls, outcome: "Outcome", found: "Experiment") -> "_Curve":
        """The curves of a setting's seeds as one."""
        seen = [trial.curve for trial in outcome.trials]
        means = ([fmean(map(float, column)) for column in zip(*rows, strict=True)] for rows in _columns(seen))
        return cls(seen[0].steps, *map(tuple, means))

    @property
    def lowest(self) -> int:
        """The step with the lowest validation loss."""
        return self.steps[self.val.index(min(self.val))]


def _columns(curves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    return [curve.train for curve in curves], [curve.val for curve in curves]


def _curves(plain: _Curve, dropped: _Curve, part: "Desk") -> Table:
    rows = [
        (f"{step:,}", f"{_epochs(part, step):.1f}", *(f"{number:.3f}" for number in numbers))
        for step, *numbers in zip(plain.steps, plain.train, plain.val, dropped.train, dropped.val, strict=True)
    ]
    head = "step | epochs | train | val | train, dropout 0.2 | val, dropout 0.2"
    return Table.of(head, rows, "nats per character, evaluation mode; an epoch: as many characters as the text has")


def _epochs(part: "Desk", step: int) -> float:
    from clearhead.experiments.recipe import SMALL

    return step * SIZE["batch_size"] * SMALL["block_size"] / len(part.data.ids("train"))


def _dropout_verdict(modes: _Modes, plain: _Curve, dropped: _Curve, found: "Experiment") -> Iterator[Part]:
    on, off = fmean(modes.training), fmean(modes.evaluation)
    yield Claim(
        "two modes",
        len(set(modes.training)) > 1 and len(set(modes.evaluation)) == 1 and on > off,
        f"In training mode the batch gave {len(set(modes.training))} different losses in {DRAWS} times, "
        f"{min(modes.training):.3f} to {max(modes.training):.3f}; in evaluation mode {off:.3f} each time, "
        f"{on - off:.3f} less than their mean. Who forgets model.eval() reports a loss that is too bad.",
        f"Here training mode gives {on:.4f} on average, evaluation mode {off:.4f}.",
        note="the loss of a batch is a property of the weights",
    )
    low = min(plain.val)
    yield Claim(
        "overfitting",
        plain.val[-1] > low and plain.train[-1] < plain.train[plain.val.index(low)],
        f"After step {plain.lowest:,} the training loss went on falling, from {plain.train[plain.val.index(low)]:.3f} "
        f"to {plain.train[-1]:.3f}, and the validation loss rose, from {low:.3f} to {plain.val[-1]:.3f}: what was "
        "learned from then on holds for this slice only. The weights that a run keeps are those that dev liked best.",
        f"Here the validation loss did not rise: {plain.val[-1]:.3f} at the end, {low:.3f} at its lowest.",
        note="as long as the loss falls, training helps",
    )
    yield Claim(
        "dropout",
        dropped.val[-1] < plain.val[-1] and dropped.train[-1] > plain.train[-1],
        f"With dropout the slice is learned less well by heart ({dropped.train[-1]:.3f} at the end beside "
        f"{plain.train[-1]:.3f}) and the rest is guessed better ({dropped.val[-1]:.3f} beside {plain.val[-1]:.3f}). "
        f"Of the weights that were kept: {found.verdict}.",
        f"Here training ends at {dropped.train[-1]:.3f} with dropout and {plain.train[-1]:.3f} without, validation at "
        f"{dropped.val[-1]:.3f} and {plain.val[-1]:.3f}.",
    )


def _averaging_verdict(spreads: Sequence[Spread]) -> Iterator[Part]:
    one, many = spreads[0], spreads[-1]
    root = many.averaged**0.5
    yield Claim(
        "averaging",
        many.spread < one.spread / 2,
        f"Single batches of one and the same model lie between {one.low:.3f} and {one.high:.3f}; averages of "
        f"{many.averaged} between {many.low:.3f} and {many.high:.3f}. Their spread is {times(one.spread, many.spread)} "
        f"times smaller; sqrt({many.averaged}) = {root:.1f} is to be expected.",
        f"Here averaging {many.averaged} batches brings the spread from {one.spread:.4f} to {many.spread:.4f}.",
        note="the loss went from one step to the next by a tenth, so the model has become better",
    )


def _epoch(part: "Desk", outcome: "Outcome") -> Claim:
    """What random windows have seen when they have read as many characters as there are."""
    import numpy as np

    from clearhead.data.batches import offsets
    from clearhead.experiments.recipe import SMALL

    n = len(part.data.ids("train"))
    T = part.data.fits(SMALL["block_size"])
    starts = offsets(1337, 0, max(1, n // T), n - T)
    seen = np.zeros(n, dtype=bool)
    seen[(starts[:, None] + np.arange(T)).ravel()] = True
    missed = 1 - seen.mean()
    return Claim(
        "epochs",
        bool(missed > 0.2),
        f"The windows are drawn at random. After one epoch, {len(starts):,} windows of {T} for {n:,} characters, "
        f"{missed:.0%} of them have not been seen once (1/e = 37 % is to be expected), and others several times. The "
        f"lecture counts steps, not epochs; the {outcome.steps} steps above were {_epochs(part, outcome.steps):.0f}.",
        f"After one epoch {missed:.0%} of the {n:,} characters have not been seen.",
        note="in an epoch each character is seen once",
    )


LESSON = Lesson(
    number=13,
    slug="training",
    title="Training and evaluation",
    question="The loss is another one each time I look. Which one do I believe?",
    teach=teach,
    code=CODE,
    views=("loss",),
    needs=5_000,
    because="half of it is learned by heart, and a tenth of that judges",
)
