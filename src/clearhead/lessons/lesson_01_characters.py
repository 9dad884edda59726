"""Lesson 1: characters to integers."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Ran, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.lessons.desk import Desk

CODE = """
text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
vocab_size = len(chars)
stoi = {ch: i for i, ch in enumerate(chars)}
itos = {i: ch for ch, i in stoi.items()}
encode = lambda s: [stoi[c] for c in s]
decode = lambda ids: "".join(itos[i] for i in ids)
assert decode(encode(text)) == text
data = encode(text)
train_data, val_data = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]
block_size = 8
x, y = train_data[:block_size], train_data[1 : block_size + 1]
for t in range(block_size):
    print(f"when the context is {x[: t + 1]} the target is {y[t]}")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """The vocabulary, the split, one batch and its examples; then the ids are dealt out anew."""
    from clearhead.config import TrainConfig
    from clearhead.data.overview import overview

    yield Say(
        "A model computes with numbers, so each character of your text gets one: its place in the sorted list of all "
        "characters that occur. That list is the vocabulary."
    )
    yield Ask("How many different characters does your text use? Count capitals, marks, the space and the line end.")
    yield Ran(shlex.join(["clearhead", "look", *desk.words]))
    facts = overview(desk.prepared, TrainConfig())
    V, own = facts["vocab_size"], desk.tokenizer.vocab_size - len(_special(desk))
    yield Answer(own, f"They have the ids 0 .. {own - 1}." + (" In the lecture it is 65." * desk.is_shakespeare))
    sample = facts["sample"]
    yield Table.of(
        "character | " + " | ".join(repr(c)[1:-1] for c in sample["text"]),
        [["id", *sample["ids"]]],
        f"decode makes {sample['decoded']!r} of these again",
    )
    yield Table.of("split | characters | what for", _splits(facts))
    yield Say(
        "Training draws windows from the training text. In each, y is x one character later, and every position is an "
        "example: predict y[t] from x[0] .. x[t]. One window of your text:"
    )
    lines = facts["lines"]
    rows = [[" ".join(map(str, line["context"])), line["target"], line["text"]] for line in lines]
    yield Table.of("context | target | in characters", rows)
    yield from _verdict(desk, facts, V)


def _splits(facts: dict[str, Any]) -> list[list[str]]:
    why = {
        "train": "is learned from",
        "dev": "decides, such as when to stop",
        "val": "judges, and is never learned from",
    }
    return [[name, f"{part['characters']:,}", why[name]] for name, part in facts["split"].items()]


def _special(desk: "Desk") -> set[int]:
    return {i for i in (desk.tokenizer.eot_id, desk.tokenizer.unk_id) if i is not None}


def _verdict(desk: "Desk", facts: dict[str, Any], V: int) -> Iterator[Part]:
    text = "".join(desk.corpus.fit)
    back = "".join(desk.tokenizer.decode(desk.tokenizer.encode(part)) for part in desk.corpus.fit)
    yield Claim(
        "round trip",
        back == text,
        f"Nothing is lost: all {len(text):,} characters were encoded, decoded, and came back the same.",
        f"Of {len(text):,} characters not all came back the same after encoding and decoding.",
    )
    x, y = facts["batch"]["x"], facts["batch"]["y"]
    shifted = all(row_x[1:] == row_y[:-1] for row_x, row_y in zip(x, y, strict=True))
    B, T = len(x), len(x[0])
    yield Claim(
        "shift",
        shifted,
        f"A batch of {B} windows of {T} is {B * T} examples, with contexts of 1 to {T} characters: y is x moved by "
        "one, in every row. So a model learns to go on from one character as well as from many.",
        "In some row of the batch y is not x moved by one.",
        note="one window is one example",
    )
    before, after = _least_losses(desk, V)
    yield Claim(
        "names",
        abs(before - after) < 1e-9,
        "An id is a name, not an amount. We dealt the ids out anew at random; the least loss that a table of pairs "
        f"can have stayed {before:.4f} nats (it moved by {tiny(abs(before - after))}).",
        f"Dealing the ids out anew moved the least loss of a table of pairs from {before:.4f} to {after:.4f} nats.",
        note="characters with neighbouring ids are alike",
    )


def _least_losses(desk: "Desk", V: int) -> tuple[float, float]:
    """The least loss of any table of pairs, with the ids as they are, and dealt out at random."""
    import numpy as np

    from clearhead.evaluation.certificate import sampled_pairs

    ids = desk.data.ids("counts")
    dealt = np.random.default_rng(1337).permutation(V)[ids]
    pairs = (sampled_pairs(stream, 1, V) for stream in (ids, dealt))
    before, after = (-float(p.weights @ np.log(p.conditional)) for p in pairs)
    return before, after


LESSON = Lesson(
    number=1,
    slug="characters",
    title="Characters to integers",
    question="How does a text become numbers, and what is one training example?",
    teach=teach,
    code=CODE,
    needs=100,
    because="a window of 8 and a split need some room",
)
