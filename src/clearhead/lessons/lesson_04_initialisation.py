"""Lesson 4: where the numbers begin."""

from collections.abc import Generator, Iterator
from math import log
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.starting import (
    COLUMNS,
    ROWS,
    TABLES,
    FirstLosses,
    counts_gap,
    first_losses,
    mixed_precision,
    rows_that_differ,
    tied_in_order,
)

if TYPE_CHECKING:
    from clearhead.inspection.bigram import Bigram
    from clearhead.inspection.init import Initialisations
    from clearhead.inspection.lab import Start
    from clearhead.lessons.desk import Desk

LECTURE = 4.8786
"""The first loss that the lecture shows, of its own table and batch."""
SMALL: dict[str, Any] = {"n_layer": 4, "n_head": 4, "n_embd": 64, "block_size": 32}
"""The GPT whose starts are compared."""
GPT_STEPS = 30
"""Of each start of the small GPT."""

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text[:100_000]])
V = len(chars)
N = torch.full((V, V), 0.1)  # a little of each pair, so that no logarithm is of 0
N.index_put_((data[:-1], data[1:]), torch.ones(len(data) - 1), accumulate=True)
torch.manual_seed(1337)
starts = {"zeros": torch.zeros(V, V), "N(0, 0.01)": 0.01 * torch.randn(V, V), "N(0, 1)": torch.randn(V, V)}
for name, table in {**starts, "counts": (N / N.sum(1, keepdim=True)).log()}.items():
    print(f"{name:<10} {F.cross_entropy(table[data[:-1]], data[1:]).item():.4f}")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """First losses of a bigram's starts, what steps make of them; then the starts of a small GPT."""
    V = desk.tokenizer.vocab_size
    yield Say(
        "Before the first step a model should know nothing, and say so: each of V tokens with probability 1/V, which "
        f"loses ln V. Here V is {V:,}, and ln V is {log(V):.2f}. PyTorch fills a new embedding table with N(0, 1)."
    )
    yield Ask("What does a bigram lose before its first step, when its table is filled with N(0, 1)? (nats)", near=0.03)
    run = yield from desk.bigram()
    found = yield from desk.inspect(run, "init")
    view: Initialisations = found.view
    starts = {start.init: start for start in view.starts}
    normal = starts["normal"]
    yield Answer(
        round(normal.measured, 4),
        f"Over all such tables ln V + 1/2 = {log(V) + 0.5:.2f} is to be expected, because exp of a N(0, 1) logit has "
        "the mean exp(1/2): a table that is sure of things at random is punished for it.",
    )
    yield Table.of(
        "start | expected | measured | after " + f"{view.steps} steps", [_row(start) for start in view.starts]
    )
    yield found.picture("init", "losses of all starts over their first steps")
    first = first_losses(desk)
    yield Say(
        f"One batch of {ROWS} x {COLUMNS} says little: over {TABLES} random tables and batches of that size the first "
        f"loss is {first.mean:.2f} on average, and 95 % lie between {first.low:.2f} and {first.high:.2f}."
        + f" The {LECTURE} of the lecture is one of these."
        * (desk.is_shakespeare and first.low < LECTURE < first.high)
    )
    settings: dict[str, Any] = {"batch_size": 32, "block_size": COLUMNS, "warmup_iters": 0, "grad_clip": 0.0}
    slow = yield from desk.train(
        "lecture", model="bigram", **settings, learning_rate=1e-3, min_lr=1e-3, max_iters=10_000, eval_interval=1_000
    )
    long = yield from desk.inspect(slow, "bigram")
    fast = yield from desk.inspect(run, "bigram")
    yield Table.of("table | bits above the floor", _gaps(desk, long.view, fast.view))
    gpt = yield from _gpt(desk)
    yield from _bigram_verdict(desk, starts, first, long.view, fast.view)
    yield from _gpt_verdict(gpt)
    yield mixed_precision()


def _row(start: "Start") -> tuple[str, ...]:
    predicted = "-" if start.predicted is None else f"{start.predicted:.3f}"
    return start.name, predicted, f"{start.measured:.3f}", f"{start.final:.3f}"


def _gaps(desk: "Desk", long: "Bigram", fast: "Bigram") -> list[tuple[str, str]]:
    return [
        ("counts (one added to each), 0 steps", f"{counts_gap(desk):.4f}"),
        (
            f"N(0, 1), rate 0.001, batches of 32 x {COLUMNS}, {long.history[-1].step:,} steps",
            f"{long.history[-1].gap:.4f}",
        ),
        (f"N(0, 1), rate 0.03, batches of 32 x 64, {fast.history[-1].step:,} steps", f"{fast.history[-1].gap:.4f}"),
    ]


def _bigram_verdict(
    desk: "Desk", starts: "dict[str, Start]", first: FirstLosses, long: "Bigram", fast: "Bigram"
) -> Iterator[Part]:
    uniform = log(desk.tokenizer.vocab_size)
    yield Claim(
        "half a nat",
        abs(first.mean - uniform - 0.5) < 0.05 and starts["normal"].measured - uniform > 0.2,
        f"N(0, 1) costs half a nat: {first.mean:.2f} on average over {TABLES} tables, ln V is {uniform:.2f}. Zeros "
        f"begin at {starts['zeros'].measured:.3f}, and a small N(0, 0.01) at {starts['small_normal'].measured:.3f}.",
        f"On this text N(0, 1) begins at {first.mean:.2f} on average; ln V is {uniform:.2f}.",
        note="an untrained model loses ln V",
    )
    apart = abs(starts["zeros"].final - starts["small_normal"].final)
    rows = rows_that_differ(desk)
    yield Claim(
        "symmetry",
        apart < 0.01 and rows > 1,
        f"Zeros are no trap in a table: the first gradient is different in {rows} of {desk.tokenizer.vocab_size} "
        f"rows, because different characters follow them; after the steps zeros and small numbers are {apart:.4f} "
        "nats apart. Symmetry must be broken between hidden units, and a table has none.",
        f"On this text zeros and small numbers end {apart:.4f} nats apart.",
        note="weights must never begin at zero",
    )
    counts, last = counts_gap(desk), long.history[-1]
    matched = next((m for m in fast.history if m.gap <= counts), None)
    yield Claim(
        "counts",
        counts < last.gap and matched is not None and matched.step < last.step,
        f"Counts are there without a step, {counts:.4f} bits above the floor (that is what the one added to each "
        f"costs). {last.step:,} steps at the rate 0.001 still leave {last.gap:.4f}. But that is the rate's doing: at "
        f"0.03, with larger batches, they were matched after {matched.step if matched else 0:,} steps.",
        f"On this text the counts are {counts:.4f} bits above the floor, {last.step:,} steps at the rate 0.001 "
        f"{last.gap:.4f}, and {fast.history[-1].step:,} at 0.03 {fast.history[-1].gap:.4f}.",
        note="counts need ten thousand steps to be matched",
    )


def _gpt(desk: "Desk") -> Generator[Part, None, "Initialisations"]:
    yield Say(
        "A GPT has more places to begin wrongly: every matrix adds to a stream that all others read. The same small "
        "GPT in the lecture's shape, from every start, untied, tied and with embeddings times sqrt(n_embd):"
    )
    small = yield from desk.train("small", preset="lecture", **SMALL, max_iters=20)
    found = yield from desk.inspect(small, "init", steps=max(3, round(desk.effort * GPT_STEPS)))
    view: Initialisations = found.view
    rows = [
        (
            start.name,
            "-" if start.predicted is None else f"{start.predicted:.3f}",
            f"{start.measured:.3f}",
            f"{start.layers[0].activation:.2f} > {start.layers[-1].activation:.2f}",
            "-" if start.token_to_position is None else f"{start.token_to_position:.1f}",
            f"{start.final:.3f}",
        )
        for start in view.starts
    ]
    head = f"start | expected | measured | stream, first > last | token : position | after {view.steps} steps"
    yield Table.of(head, rows, "stream: root mean square after the embedding > after the last block")
    return view


def _gpt_verdict(view: "Initialisations") -> Iterator[Part]:
    starts, uniform = {start.name: start for start in view.starts}, view.uniform
    n_embd, n_layer = SMALL["n_embd"], SMALL["n_layer"]
    normal, xavier, scaled = starts["normal"], starts["xavier"], starts["scaled"]
    yield Claim(
        "small numbers",
        abs(normal.measured - uniform) < abs(xavier.measured - uniform),
        f"N(0, 0.02) begins at {normal.measured:.3f}, near ln V = {uniform:.3f}; Xavier, which keeps the size of what "
        f"passes through each matrix, begins at {xavier.measured:.3f}, for the head's logits are as large as its "
        "input.",
        f"N(0, 0.02) begins at {normal.measured:.3f}, Xavier at {xavier.measured:.3f}; ln V is {uniform:.3f}.",
        note="Xavier is the right start for every matrix",
    )
    grown, held = (start.layers[-1].activation / start.layers[0].activation for start in (normal, scaled))
    yield Claim(
        "residual scaling",
        held < grown,
        f"{2 * n_layer} sublayers add to the stream, and it grows by a factor of {grown:.2f}; with their last "
        f"matrices times 1/sqrt({2 * n_layer}) by {held:.2f}.",
        f"The stream grows by {grown:.2f}, with scaled projections by {held:.2f}.",
    )
    wide = starts["normal, scaled embedding"]
    plain, times = normal.token_to_position or 1.0, wide.token_to_position or 1.0
    yield Claim(
        "sqrt(n_embd)",
        abs(times / plain - n_embd**0.5) < 0.1 * n_embd**0.5,
        f"Times sqrt({n_embd}) the token's part of the stream is {times:.1f} times the position's instead of "
        f"{plain:.1f}: it was meant for positions of size 1, and learned ones begin as small as tokens. After "
        f"{view.steps} steps {normal.final:.3f} nats stand beside {wide.final:.3f}, one seed: no reason to choose by.",
        f"Token to position is {plain:.1f} without and {times:.1f} with the factor.",
    )
    before, after = tied_in_order()
    yield Claim(
        "order of tying",
        abs(before - 0.02) < 0.004 and after > 2 * before,
        "Tying makes two names for one matrix, so whoever fills it last wins: embedding N(0, 0.02), tied, has the "
        f"size {before:.3f}; if the head is filled with Xavier after tying, the embedding's size is {after:.3f}.",
        f"Filled before tying the embedding has the size {before:.3f}, after it {after:.3f}.",
    )


LESSON = Lesson(
    number=4,
    slug="initialisation",
    title="Initialisation",
    question="With which numbers should training begin, and does it matter?",
    teach=teach,
    code=CODE,
    views=("init", "bigram"),
    needs=2_000,
    because="starts are trained for some hundred batches",
)
