"""Lesson 6: averaging the past."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.inspection.trick import Trick
    from clearhead.lessons.desk import Desk

ASKED = 3
"""The row that is asked about, from 0."""
AGREE = 1e-12
"""Ways to one average, in float64, differ by rounding alone below this."""

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
T = 8
x = F.one_hot(torch.tensor([stoi[c] for c in text[:T]]), len(stoi)).float()  # (T, C)
xbow = torch.stack([x[: t + 1].mean(0) for t in range(T)])  # the loop: up to t, itself included
tril = torch.tril(torch.ones(T, T))
wei = tril / tril.sum(1, keepdim=True)
assert torch.allclose(wei @ x, xbow)  # the matrix
wei = torch.zeros(T, T).masked_fill(tril == 0, float("-inf"))
wei = F.softmax(wei, dim=-1)
assert torch.allclose(wei @ x, xbow)  # the softmax
print(wei)
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """Four ways to one average on the beginning of the text, and what the future has to do with it."""
    yield Say(
        "Characters of a window know nothing of each other yet. The crudest way to let them talk is to give each the "
        "average of what came before it. On the way to attention the lecture computes it with a loop, then with a "
        "matrix, then with a softmax."
    )
    yield Ask(
        f"Positions are counted from 0. How much weight has position 0 in the average that position {ASKED} gets? (a "
        "number between 0 and 1)",
        near=0.01,
    )
    run = yield from desk.bigram()
    text = desk.passage(24)
    found = yield from desk.inspect(run, "trick", text)
    view: Trick = found.view
    asked = min(ASKED, len(view.x) - 1)
    yield Answer(
        float(view.weights[asked, 0]),
        f"Position {asked} averages {asked + 1} characters: those before it and itself, each with 1/{asked + 1}.",
    )
    rows = [
        (f"{t} {view.tokens[t]}", *(f"{w:.3f}" if s <= t else "." for s, w in enumerate(row)))
        for t, row in enumerate(view.weights)
    ]
    yield Table.of("| " + " | ".join(map(str, range(len(rows)))), rows, "wei: row t says how much each position weighs")
    yield found.picture("trick", "the weights, the vectors, and the averages of the past")
    yield Table.of(
        "way | differs from the loop by", [(way.name, tiny(way.difference)) for way in view.ways], _channels(view)
    )
    yield from _verdict(desk, view, text)


def _channels(view: "Trick") -> str:
    """What a bigram's one-hot vectors average to, in words."""
    shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(view.channels, view.averages[-1], strict=True))
    return f"the average at position {len(view.x) - 1} is the share of each character so far: {shares}, ..."


def _verdict(desk: "Desk", view: "Trick", text: str) -> Iterator[Part]:
    worst = max(way.difference for way in view.ways)
    yield Claim(
        "one average",
        worst < AGREE,
        "Loop, triangular matrix, softmax of a mask, and attention whose keys are all equal give the same "
        f"{view.every.shape[0]} x {view.every.shape[1]} numbers, to {tiny(worst)}.",
        f"The ways differ by up to {tiny(worst)}.",
        note="attention is another computation than averaging",
    )
    own = float(min(view.weights[t, t] for t in range(len(view.weights))))
    yield Claim(
        "itself included",
        own > 0,
        f"A position looks at itself too: on the diagonal no weight is below {own:.3f}. Position 0 has nothing else, "
        f"and gives itself {view.weights[0, 0]:.3f}.",
        "Some position gives itself no weight.",
        note="a token averages the tokens before it",
    )
    moved = _future_matters(text)
    yield Claim(
        "no future",
        moved == 0,
        "Exchanging the last character moves no average before it (by 0): minus infinity becomes a weight of exactly "
        "0 in the softmax, so the answer cannot leak into the question.",
        f"Exchanging the last character moved an earlier average by {tiny(moved)}.",
    )


def _future_matters(text: str) -> float:
    """How far the averages of a text move, but for the last, when its last character is another one."""
    import torch
    from torch.nn import functional as F

    chars = sorted({*text, "\0"})
    tril = torch.ones(len(text), len(text), dtype=torch.double).tril()
    wei = torch.zeros_like(tril).masked_fill(tril == 0, float("-inf")).softmax(-1)
    texts = (text, text[:-1] + "\0")
    first, second = (wei @ F.one_hot(torch.tensor([chars.index(c) for c in t]), len(chars)).double() for t in texts)
    return float((first - second)[:-1].abs().max())


LESSON = Lesson(
    number=6,
    slug="averaging",
    title="Averaging the past",
    question="What does a lower triangle have to do with attention?",
    teach=teach,
    code=CODE,
    views=("trick",),
)
