"""Lesson 2: the bigram table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clearhead.lessons.counting import frequent_pair
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.inspection.backward import BigramStep
    from clearhead.inspection.pair import Pair
    from clearhead.lessons.desk import Desk

SHOWN = 6
"""Rows of a table that are printed."""

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text[:100_000]])
vocab_size = len(chars)
token_embedding_table = torch.zeros(vocab_size, vocab_size, requires_grad=True)  # the parameters
xb, yb = data[:-1], data[1:]  # the targets are yb: characters of the text
logits = token_embedding_table[xb]  # (n, V): row xb[t] of the table, whatever stood before
loss = F.cross_entropy(logits, yb)
loss.backward()  # in each row: its share of the examples times (softmax - share of each successor)
with torch.no_grad():
    token_embedding_table -= 10 * token_embedding_table.grad
print(f"{vocab_size * vocab_size:,} parameters, loss {loss.item():.4f}, then", end=" ")
print(f"{F.cross_entropy(token_embedding_table[xb], yb).item():.4f}")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """One entry of a trained table, one backward step, and two histories with the same last character."""
    V = desk.tokenizer.vocab_size
    a, b = frequent_pair(desk)
    yield Say(
        "The simplest language model looks at one character and says how likely each next one is. All it has is a "
        f"table of numbers: a row for the current character, a column for the next. Your text has {V:,} tokens."
    )
    yield Ask("How many numbers are in the table?", near=0.001)
    run = yield from desk.bigram()
    yield Answer(
        V * V,
        f"Each of {V:,} characters may be followed by each of {V:,}: {V:,} x {V:,}, and the model counts "
        f"{run.model.num_parameters():,} parameters.",
    )
    found = yield from desk.inspect(run, "bigram", a, b)
    pair: Pair = found.view.pair
    yield Table.of("next | count | share | softmax of the row | entry (logit)", _row(pair), f"the row of {a}")
    yield Say(
        f"Entry [{a}, {b}] is {pair.logit:.3f}. It is a logit, no probability: only the whole row together says "
        f"exp({pair.logit:.3f} - {pair.logsumexp:.3f}) = {pair.probability:.4f}."
    )
    yield from _backward(desk, run)
    yield Claim(
        "entry",
        pair.share is not None and abs(pair.probability - pair.share) < 0.02,
        f"[{a}, {b}] means: how likely {b} is after {a}. In the training text it comes in {pair.count:,} of "
        f"{pair.of:,} cases ({pair.count / pair.of:.2%}), and the trained row says {pair.probability:.2%}.",
        f"In the training text {b} comes in {pair.count:,} of {pair.of:,} cases after {a}; this row, not trained to "
        f"its end, says {pair.probability:.2%}.",
    )
    yield Claim(
        "shift",
        pair.shifted < 1e-6,
        f"5 more on every entry of the row moves no probability (by {tiny(pair.shifted)} at most): an entry alone "
        "says nothing, its distance from the others of its row does.",
        f"5 more on every entry of the row moves a probability by {tiny(pair.shifted)}.",
        note="an entry is the probability of the pair",
    )
    yield _one_token(desk, run, a, b)


def _row(pair: "Pair") -> list[tuple[str, ...]]:
    return [
        (
            s.token,
            f"{s.count:,}",
            "" if s.share is None else f"{s.share:.4f}",
            f"{s.probability:.4f}",
            f"{s.logit:+.3f}",
        )
        for s in pair.row[:SHOWN]
    ]


def _backward(desk: "Desk", run: "Run") -> Iterator[Part]:
    """One step of gradient descent on the beginning of the validation text."""
    yield Say(
        "Where does the row come from? From steps like this one, on a few characters: the loss compares softmax with "
        "the next characters y, and its gradient says where the table's numbers should move."
    )
    found = yield from desk.inspect(run, "step", desk.passage(24), backward=True)
    back: BigramStep = found.view.backward
    rows = [
        (c.token, c.followed, f"{c.share:.3f}", f"{c.probability:.3f}", f"{c.gradient:+.4f}", f"{c.formula:+.4f}")
        for c in back.cells[:SHOWN]
    ]
    yield Table.of(f"{back.token} then | came | share | softmax | gradient | formula", rows)
    yield Claim(
        "target",
        back.gradient_error < 1e-6 and back.loss_after < back.loss_before,
        "The table is the parameter; the target is the text's next character. The gradient is the row's share of the "
        f"examples times (softmax - share), to {tiny(back.gradient_error)}; the step took the loss on these "
        f"characters from {back.loss_before:.4f} to {back.loss_after:.4f}.",
        f"Here the step took the loss from {back.loss_before:.4f} to {back.loss_after:.4f}; gradient and formula "
        f"differ by {tiny(back.gradient_error)}.",
        note="the table is the training target",
    )


def _one_token(desk: "Desk", run: "Run", a: str, b: str) -> Claim:
    """Two histories that end in the same character."""
    import torch

    ids = desk.tokenizer.encode
    first = desk.corpus.fit[0][:20] + a
    batches = (torch.from_numpy(ids(text))[None].long().to(run.model.device) for text in (first, a))
    says = [run.model(idx).logits[0, -1].softmax(-1) for idx in batches]
    apart = float((says[0] - says[1]).abs().max().detach())
    chance = float(says[0][int(ids(b)[0])].detach())
    return Claim(
        "one token",
        apart == 0,
        f"A bigram sees one character, whatever came before it. After {len(first)} characters that end in {a}, and "
        f"after {a} alone, it gives {b} the same {chance:.4f}; all {len(says[0]):,} probabilities differ by "
        f"{tiny(apart)}.",
        f"The probabilities after {a} and after a longer text that ends in {a} differ by {tiny(apart)}.",
        note="with a longer context the bigram predicts better",
    )


LESSON = Lesson(
    number=2,
    slug="bigram-table",
    title="The bigram table",
    question="What does entry [i, j] of the table mean, and is the table what training aims at?",
    teach=teach,
    code=CODE,
    views=("bigram", "step"),
)
