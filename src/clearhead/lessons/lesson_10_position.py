"""Lesson 10: position."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.outcomes import always_lower, first_run, losses
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Part, Say
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.experiments.experiment import Outcome
    from clearhead.lessons.desk import Desk

SIZE: dict[str, Any] = {"preset": "modern", "n_head": 4, "n_embd": 64, "block_size": 16}
STEPS, SEEDS = 300, 2
PACE: dict[str, Any] = {"max_iters": STEPS, "eval_interval": STEPS}
"""No curve is shown, so a run looks at its losses before the first step and after the last."""
WINDOWS = 200
"""Windows whose earlier characters are shuffled."""
ROUNDING = 1e-4
"""Probability that moves in float32 when a sum is added up in another order, at most."""

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
torch.manual_seed(1337)
T, C = 8, 32
idx = torch.tensor([stoi[c] for c in text[:T]])
shuffled = torch.cat([idx[:-1].flip(0), idx[-1:]])  # the last stays, those before it turn round
table, place = nn.Embedding(len(stoi), C), nn.Embedding(T, C)
heads = [[nn.Linear(C, C, bias=False) for _ in range(3)] for _ in range(2)]
tril = torch.tril(torch.ones(T, T))


def last(x, layers):
    for key, query, value in heads[:layers]:
        wei = (query(x) @ key(x).T * C**-0.5).masked_fill(tril == 0, float("-inf"))
        x = x + F.softmax(wei, dim=-1) @ value(x)
    return x[-1]


for layers in (1, 2):
    bag = (last(table(idx), layers) - last(table(shuffled), layers)).abs().max().item()
    placed = (last(table(idx) + place.weight, layers) - last(table(shuffled) + place.weight, layers)).abs().max().item()
    print(f"{layers} layers: the last vector moves by {bag:.1e} without positions, by {placed:.1e} with them")
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """The loss with positions and without, one block and two; then what is left of order where nobody gave any."""
    yield Say(
        "A query meets its keys one by one, and the weighted values are added up. A sum does not know in which order "
        "its parts came. So positions are given with the text: in the lecture a table of vectors, added to those of "
        "the characters. We train with that table and without it, with one block and with two."
    )
    choices = (("a", "none of it"), ("b", "less than a tenth"), ("c", "more"))
    asked = (
        "In a window the last character stays, and all those before it are shuffled. How much of the probability of "
        "the next character moves, with {}, without positions?"
    )
    yield Ask(asked.format("one block"), choices)
    knobs = {"positions": ["learned", "none"], "n_layer": [1, 2]}
    found = yield from desk.experiment(knobs, seeds=SEEDS, **SIZE, **PACE)
    placed, deep, bag, leaking = (found.outcome(*values) for values in _grid(knobs))
    shuffled = _Shuffled.of(first_run(placed), first_run(bag), first_run(leaking))
    yield Answer(_letter(shuffled.bag), f"Over {WINDOWS} windows {_amount(shuffled.bag)} moves on average.")
    yield Ask(asked.format("two blocks"), choices)
    yield Answer(_letter(shuffled.leaking), f"{_amount(shuffled.leaking)} moves.")
    bars = (
        ("positions, one block", shuffled.placed),
        ("none, one block", shuffled.bag),
        ("none, two blocks", shuffled.leaking),
        ("none, two blocks, mask taken off", shuffled.unmasked),
    )
    yield Bars("probability of the next character that moves when what stands before is shuffled", bars)
    yield losses(found.outcomes)
    yield from _order(shuffled)
    yield from _worth(placed, deep, bag, leaking)


def _grid(knobs: dict[str, list[Any]]) -> list[tuple[Any, Any]]:
    return [(positions, layers) for positions in knobs["positions"] for layers in knobs["n_layer"]]


def _letter(moved: float) -> str:
    return "a" if moved < ROUNDING else "b" if moved < 0.1 else "c"


def _amount(moved: float) -> str:
    return f"{moved:.1%} of the probability" if moved >= ROUNDING else f"nothing ({tiny(moved)}, rounding)"


@dataclass(frozen=True)
class _Shuffled:
    """Probability of the next character that moves when what stands before the last one is shuffled; means."""

    placed: float
    """One block with positions."""
    bag: float
    """One block without."""
    leaking: float
    """Two blocks without."""
    unmasked: float
    """The same two blocks, every character seeing all."""

    @classmethod
    def of(cls, placed: "Run", bag: "Run", leaking: "Run") -> "_Shuffled":
        """Of three runs, on the same windows."""
        models = [placed.model, bag.model, leaking.model, _unmasked(leaking)]
        return cls(*(_moved(model, placed) for model in models))


def _unmasked(run: "Run") -> Any:
    """A run's weights in a model whose characters see all of their window."""
    from clearhead.models.gpt import GPTLanguageModel

    model = GPTLanguageModel.from_config({**run.model.to_config(), "without": "mask"})
    model.load_state_dict(run.model.state_dict())
    return model.to(run.model.device).eval()


def _moved(model: Any, run: "Run") -> float:
    """The mean total variation between the predictions after windows and after the same windows, shuffled."""
    import numpy as np
    import torch

    from clearhead.evaluation.ladder import score_split

    split = score_split(run.data)
    ids, T = run.data.ids(split), run.data.fits(SIZE["block_size"], split)
    starts = np.linspace(0, len(ids) - T, WINDOWS).astype(np.int64)
    x = torch.from_numpy(np.asarray(ids[starts[:, None] + np.arange(T)], dtype=np.int64))  # (B, T)
    generator = torch.Generator().manual_seed(1337)
    order = torch.rand(len(x), T - 1, generator=generator).argsort(1)
    other = torch.cat([x[:, :-1].gather(1, order), x[:, -1:]], 1)
    with torch.no_grad():
        probs, others = (model(idx.to(run.model.device)).logits[:, -1].softmax(-1) for idx in (x, other))
    return float((probs - others).abs().sum(-1).mean() / 2)


def _order(shuffled: _Shuffled) -> Iterator[Claim]:
    yield Claim(
        "bag",
        shuffled.bag < ROUNDING < shuffled.placed,
        f"Without positions one block sees a bag of characters: shuffling those before the last moves "
        f"{_amount(shuffled.bag)}. With positions it moves {shuffled.placed:.1%}.",
        f"Shuffling moves {tiny(shuffled.bag)} without and {tiny(shuffled.placed)} with positions.",
        note="attention reads from left to right",
    )
    yield Claim(
        "leak",
        shuffled.leaking > 100 * max(shuffled.bag, shuffled.unmasked) and shuffled.unmasked < ROUNDING,
        f"Two blocks without positions are no bag: shuffling moves {_amount(shuffled.leaking)}. The mask tells: each "
        "character has averaged those before it, so the first block's answers depend on who came first, and the second "
        f"block reads these. Take the mask off the same weights, and {_amount(shuffled.unmasked)} moves.",
        f"Shuffling moves {tiny(shuffled.leaking)} with two blocks, and {tiny(shuffled.unmasked)} without the mask.",
        note="without positions a GPT cannot know the order",
    )


def _worth(placed: "Outcome", deep: "Outcome", bag: "Outcome", leaking: "Outcome") -> Iterator[Claim]:
    lost = bag.nats_per_token - placed.nats_per_token
    yield Claim(
        "lost",
        always_lower(placed, bag, by=0.02),
        f"What is lost without positions: one block loses {bag.nats_per_token:.3f} nats instead of "
        f"{placed.nats_per_token:.3f}, {lost:.3f} more, with each of {len(bag.trials)} seeds. The table that tells "
        f"them has {placed.parameters - bag.parameters:,} of {placed.parameters:,} parameters.",
        f"One block loses {bag.nats_per_token:.3f} nats without positions and {placed.nats_per_token:.3f} with them: "
        "after these steps, on this text, that is no difference in each of the seeds.",
    )
    still = leaking.nats_per_token - deep.nats_per_token
    yield Claim(
        "leak is little",
        always_lower(leaking, bag) and always_lower(deep, leaking),
        f"The second block wins {bag.nats_per_token - leaking.nats_per_token:.3f} nats without positions and "
        f"{placed.nats_per_token - deep.nats_per_token:.3f} with them. But what leaks through the mask is not yet as "
        f"good as being told: after {bag.steps:,} steps two blocks without positions are still {still:.3f} nats behind "
        "two blocks with them.",
        f"Two blocks lose {leaking.nats_per_token:.3f} nats without positions and {deep.nats_per_token:.3f} with them; "
        f"one block {bag.nats_per_token:.3f} and {placed.nats_per_token:.3f}.",
        note="a mask makes positions superfluous",
    )


LESSON = Lesson(
    number=10,
    slug="position",
    title="Position",
    question="How does a GPT know where a character stands, and what if it is not told?",
    teach=teach,
    code=CODE,
    views=("attention",),
    needs=5_000,
    because="models are trained on it, and compared on what was held back",
)
