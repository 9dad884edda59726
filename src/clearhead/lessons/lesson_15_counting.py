"""Lesson 15: counting against learning."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Say, Table

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.evaluation.ladder import Ladder
    from clearhead.lessons.desk import Desk

CODE = """
import math
from collections import Counter, defaultdict

text = open("input.txt", encoding="utf-8").read()
n = int(0.9 * len(text))
train_data, val_data = text[:n], text[n:]
vocab_size = len(set(text))
for order in (1, 2, 3, 4):  # characters that are looked at, the next one included
    N = defaultdict(Counter)
    for i in range(order, len(train_data)):
        N[train_data[i - order + 1 : i]][train_data[i]] += 1
    nll = 0.0
    for i in range(order, len(val_data)):
        row = N[val_data[i - order + 1 : i]]
        nll -= math.log((row[val_data[i]] + 0.1) / (row.total() + 0.1 * vocab_size))
    print(f"order {order}: {nll / (len(val_data) - order):.4f} nats per character")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """The ladder of a short training, and who knows what, character by character."""
    yield Say(
        "A table of counts needs no gradient and no GPU. So the honest question is what gradients add to counting. We "
        "count an n-gram of the training text, train a small GPT for a short while, mix both, and score all three on "
        "the same validation text."
    )
    yield Ask(
        "Which of the three needs the fewest bits per character?",
        (("a", "the n-gram, counted"), ("b", "the GPT, trained"), ("c", "the mixture of both")),
    )
    run = yield from desk.gpt()
    ladder = yield from desk.ladder(run)
    three = {letter: ladder[name] for letter, name in zip("abc", ("ngram", "gpt", "mixture"), strict=True)}
    best = min(three, key=lambda letter: three[letter].nats_per_token)
    yield Answer(best, "; ".join(f"{rung.name} {rung.bits_per_char:.3f} bits" for rung in three.values()) + ".")
    yield Table.of(
        "rung | nats per character | bits per character | seconds | sees",
        [
            (
                rung.name,
                f"{rung.nats_per_token:.4f}",
                f"{rung.bits_per_char:.4f}",
                "-" if rung.fit_seconds is None else f"{rung.fit_seconds:.1f}",
                rung.context,
            )
            for rung in ladder.rungs
        ],
        f"on {ladder.val_characters:,} validation characters; seconds of this machine",
    )
    yield Bars("bits per character", tuple((r.name, r.bits_per_char) for r in ladder.rungs))
    duel = _duel(desk, run)
    yield Table.of(
        "who gives the true next character more | of all characters | it saves there, bits a character",
        [
            ("the GPT", f"{duel.share:.1%}", f"{duel.won:.3f}"),
            ("the n-gram", f"{1 - duel.share:.1%}", f"{duel.lost:.3f}"),
        ],
        "saved beside the other one, spread over all characters",
    )
    yield from _verdict(ladder, duel)


@dataclass(frozen=True)
class _Duel:
    """GPT and n-gram on every validation character."""

    share: float
    """Of characters to which the GPT gives more."""
    won: float
    """Bits a character, over all, that the GPT saves where it gives more."""
    lost: float
    """The same of the n-gram."""
    oracle: float
    """Nats a character of whoever always asked the better of the two."""


def _duel(desk: "Desk", run: "Run") -> _Duel:
    from clearhead.evaluation.ladder import fit_ngram
    from clearhead.evaluation.loss import token_losses

    ngram = fit_ngram(desk.data, desk.tokenizer).model
    neural = token_losses(run.model, desk.data, "val", run.runtime.exact).double()
    counted = token_losses(ngram, desk.data, "val").double()
    saved = (counted - neural) / log(2)
    return _Duel(
        share=float((saved > 0).double().mean()),
        won=float(saved.clamp(min=0).mean()),
        lost=float((-saved).clamp(min=0).mean()),
        oracle=float(neural.minimum(counted).mean()),
    )


def _verdict(ladder: "Ladder", duel: _Duel) -> Iterator[Part]:
    ngram, gpt, mixture, bigram = (ladder[name] for name in ("ngram", "gpt", "mixture", "bigram"))
    yield Claim(
        "counting is strong",
        ngram.nats_per_token < gpt.nats_per_token,
        f"After this training the n-gram is ahead: {ngram.nats_per_token:.3f} nats beside the GPT's "
        f"{gpt.nats_per_token:.3f}. It was counted in {_seconds(ngram)}; the GPT took {_seconds(gpt)}. The GPT has "
        f"{'' if gpt.nats_per_token < bigram.nats_per_token else 'not even '}passed the counted bigram, which needs "
        f"{bigram.nats_per_token:.3f}.",
        f"On this text the GPT has passed the n-gram after a short training: {gpt.nats_per_token:.3f} nats beside "
        f"{ngram.nats_per_token:.3f}.",
        note="a neural model beats counting from the start",
    )
    best = min(ngram.nats_per_token, gpt.nats_per_token)
    yield Claim(
        "mixture",
        mixture.nats_per_token < best,
        f"The mixture needs {mixture.nats_per_token:.3f} nats, {best - mixture.nats_per_token:.3f} less than the "
        "better of its parts, without another step of training.",
        f"On this text the mixture needs {mixture.nats_per_token:.3f} nats, and the better of its parts {best:.3f}.",
        note="the worse model adds nothing to the better one",
    )
    yield Claim(
        "both know",
        0.1 < duel.share < 0.9 and duel.oracle < mixture.nats_per_token,
        f"Why: they are right in different places. The GPT gives more to {duel.share:.0%} of the characters, the "
        f"n-gram to the others. Whoever knew each time whom to ask would need {duel.oracle:.3f} nats; the mixture, "
        "which must guess whom, gets part of the way.",
        f"Here one of them is ahead nearly everywhere: the GPT gives more to {duel.share:.0%} of the characters.",
    )


def _seconds(rung: object) -> str:
    seconds = getattr(rung, "fit_seconds", None)
    return "no time that was measured" if seconds is None else f"{seconds:.1f} s"


LESSON = Lesson(
    number=15,
    slug="counting",
    title="Counting against learning",
    question="What does a trained GPT know that a table of counts does not?",
    teach=teach,
    code=CODE,
    views=("bigram", "loss"),
    needs=5_000,
    because="a mixture needs dev and validation text of some length",
)
