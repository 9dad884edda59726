"""Lesson 5: softmax and sampling."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clearhead.lessons.counting import frequent_pair
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Quote, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.inspection.next import Next
    from clearhead.lessons.desk import Desk

TEMPERATURES = (0.5, 1.0, 2.0)
TOP_K = 3
DRAWS = 10_000
"""Draws that are counted."""
WRITTEN = 120
"""Characters that the model writes."""

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
N = torch.ones(len(chars), len(chars))  # one of each, so that no logarithm is of 0
N.index_put_((data[:-1], data[1:]), torch.ones(len(data) - 1), accumulate=True)
logits = N.log()[data[0]]  # any numbers; a constant more on all of them changes nothing
torch.manual_seed(1337)
for temperature in (0.5, 1.0, 2.0):
    probs = F.softmax(logits / temperature, dim=-1)
    ids = torch.multinomial(probs, num_samples=20, replacement=True)
    print(f"T = {temperature}: the likeliest has {probs.max():.3f};", repr("".join(chars[i] for i in ids)))
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """One row of the table at three temperatures, cut and drawn from; then writing greedily and by drawing."""
    a, _ = frequent_pair(desk)
    yield Say(
        f"After {a} the bigram has a row of logits. Softmax makes probabilities of them, temperature divides the "
        "logits before, and a random number decides. Nothing else happens when a model writes."
    )
    run = yield from desk.bigram()
    looked = yield from desk.inspect(run, "next", a)
    warm: Next = looked.view
    best = warm.candidates[0]
    yield Ask(
        f"After {a} the likeliest character, {best.token}, has the probability {best.before:.3f}. What will it have at "
        f"temperature {TEMPERATURES[0]:g}, all logits doubled?"
    )
    cool = yield from desk.inspect(run, "next", a, temperature=TEMPERATURES[0])
    hot = yield from desk.inspect(run, "next", a, temperature=TEMPERATURES[2])
    views: list[Next] = [cool.view, warm, hot.view]
    cold = views[0].candidates[0]
    yield Answer(
        cold.heated,
        "Halving the temperature squares each probability, and then all are made to sum to 1 again: "
        f"{best.before:.3f} squared is {best.before**2:.3f}, divided by the sum of all squares, "
        f"{sum(c.before**2 for c in warm.candidates):.3f}.",
    )
    yield Table.of(
        "token | logit | " + " | ".join(f"T = {t:g}" for t in TEMPERATURES),
        [(c.token, f"{c.logit:+.3f}", *(f"{_heated(view, c.id):.4f}" for view in views)) for c in warm.candidates[:6]],
    )
    yield Bars(
        "effective choices (2 to the entropy)",
        tuple((f"T = {view.temperature:g}", view.spread[1].choices) for view in views),
        ".2f",
    )
    yield looked.picture("draw", "where the random number falls")
    cut = yield from desk.inspect(run, "next", a, top_k=TOP_K)
    greedy = yield from desk.generate(run, a, temperature=0, max_new_tokens=WRITTEN)
    yield Quote(greedy)
    drawn = yield from desk.generate(run, a, max_new_tokens=WRITTEN)
    yield Quote(drawn)
    yield from _verdict(views, cut.view)
    yield _greedy(desk.tokenizer.vocab_size, greedy, drawn)


def _heated(view: "Next", token: int) -> float:
    return next(c.heated for c in view.candidates if c.id == token)


def _verdict(views: "list[Next]", cut: "Next") -> Iterator[Part]:
    warm = views[1]
    negative, total = sum(c.logit < 0 for c in warm.candidates), sum(c.logit for c in warm.candidates)
    yield Claim(
        "no probabilities",
        negative > 0 and warm.check < 1e-6,
        f"Logits are no probabilities: of this row {negative} of {len(warm.candidates)} are below 0, and they sum to "
        f"{total:.1f}. After softmax all are above 0, and sum to 1 within {tiny(warm.check)}.",
        f"In this row no logit is below 0; they sum to {total:.1f}, and after softmax to 1 within {tiny(warm.check)}.",
        note="the logits are the probabilities of the next character",
    )
    orders = {tuple(sorted((c.id for c in v.candidates), key=lambda i: -_heated(v, i)))[:5] for v in views}
    spread = [view.spread[1].choices for view in views]
    yield Claim(
        "temperature",
        len(orders) == 1 and spread[0] < spread[1] < spread[2],
        "Temperature changes no order: the five likeliest are the same at "
        f"{', '.join(f'{t:g}' for t in TEMPERATURES)}. It changes how open the choice is: as if of {spread[0]:.1f}, "
        f"{spread[1]:.1f}, {spread[2]:.1f} equally likely ones.",
        f"Effective choices at {TEMPERATURES}: {spread[0]:.1f}, {spread[1]:.1f}, {spread[2]:.1f}.",
        note="a higher temperature makes other characters the likeliest",
    )
    left = sum(c.probability > 0 for c in cut.candidates)
    yield Claim(
        "top-k",
        left == min(TOP_K, len(cut.candidates)),
        f"Top-k with k = {TOP_K} sets all but {left} probabilities to 0 and divides by what is left: "
        f"{cut.candidates[0].token} is drawn with {cut.candidates[0].probability:.3f} instead of "
        f"{cut.candidates[0].before:.3f}.",
        f"Top-k left {left} tokens.",
    )
    yield _frequencies(warm)


def _frequencies(view: "Next") -> Claim:
    """Draws beside the probabilities that they are drawn with."""
    import torch

    probs = torch.tensor([c.probability for c in view.candidates], dtype=torch.double)
    drawn = torch.multinomial(probs, DRAWS, replacement=True, generator=torch.Generator().manual_seed(1337))
    shares = torch.bincount(drawn, minlength=len(probs)).double() / DRAWS
    apart = float((shares - probs).abs().max())
    bound = 4 * float((probs * (1 - probs) / DRAWS).sqrt().max())
    first = view.candidates[0]
    return Claim(
        "multinomial",
        apart < bound,
        f"multinomial draws each character as often as its probability says: of {DRAWS:,} draws "
        f"{float(shares[0]):.3f} were {first.token}, which has {first.probability:.3f}; none is off by more than "
        f"{apart:.4f}. The likeliest is not taken in {1 - float(shares[0]):.0%} of them.",
        f"Of {DRAWS:,} draws some character's share is {apart:.4f} off its probability.",
        note="the model writes its most likely character",
    )


def _greedy(V: int, greedy: str, drawn: str) -> Claim:
    """Writing the likeliest, beside drawing, of V characters."""
    tail = greedy[-WRITTEN // 2 :]
    period = next((p for p in range(1, len(tail) // 2) if tail[p:] == tail[:-p]), None)
    return Claim(
        "greedy loops",
        period is not None and len(set(drawn)) > len(set(greedy)),
        f"Always taking the likeliest goes in circles: the same {period} characters again and again, "
        f"{len(set(greedy))} different ones in all, where drawing wrote {len(set(drawn))}. It must: the next depends "
        f"on the current alone, and there are {V} of those.",
        f"In {WRITTEN} characters the greedy text has not begun to repeat itself; it uses {len(set(greedy))} "
        f"different ones, drawing {len(set(drawn))}.",
        note="the best text is made by always taking the likeliest character",
    )


LESSON = Lesson(
    number=5,
    slug="sampling",
    title="Softmax and sampling",
    question="The model has computed logits. How does a character come of them?",
    teach=teach,
    code=CODE,
    views=("next",),
)
