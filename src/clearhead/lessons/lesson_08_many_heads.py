"""Lesson 8: many heads."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.outcomes import always_lower, losses
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.seeking import Tested, nats, seekers
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.experiments.experiment import Experiment
    from clearhead.inspection.attention import Attention
    from clearhead.inspection.heads import HeadScore
    from clearhead.inspection.trace import Trace
    from clearhead.lessons.desk import Desk

SIZE: dict[str, Any] = {"n_layer": 1, "n_embd": 64, "block_size": 32}
"""The GPT whose heads are counted."""
STEPS, SEEDS = 300, 2
PACE: dict[str, Any] = {"max_iters": STEPS, "eval_interval": STEPS}
"""No curve is shown, so a run looks at its losses before the first step and after the last."""

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
torch.manual_seed(1337)
T, C, n_head = 8, 32, 4
hs = C // n_head
x = nn.Embedding(len(stoi), C)(torch.tensor([stoi[c] for c in text[:T]]))  # (T, C)
tril, outs = torch.tril(torch.ones(T, T)), []
for _ in range(n_head):
    key, query, value = (nn.Linear(C, hs, bias=False) for _ in range(3))  # each reads all C numbers
    wei = (query(x) @ key(x).T * hs**-0.5).masked_fill(tril == 0, float("-inf"))
    outs.append(F.softmax(wei, dim=-1) @ value(x))  # (T, hs)
proj = nn.Linear(C, C, bias=False)
together = proj(torch.cat(outs, dim=-1))  # (T, C)
alone = [out @ proj.weight[:, h * hs : (h + 1) * hs].T for h, out in enumerate(outs)]  # each (T, C)
assert torch.allclose(together, sum(alone), atol=1e-6)
print("heads side by side, projected, are a sum:", [round(part.norm().item(), 2) for part in alone])
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """What heads of the shared GPT look at and cost; a story about a head, tested where the answer is known."""
    yield Say(
        "Several heads work side by side, and their answers are projected and added to the stream. Each is said to "
        "have its own task. We look at the heads of a small GPT trained on your text: at what each looks, and what is "
        "lost when what it adds is left out."
    )
    choices = (("a", "the one that looks back most at the character before"), ("b", "another one"))
    yield Ask("Which head costs the model most when it is left out?", choices)
    run = yield from desk.gpt()
    found = yield from desk.inspect(run, "attention", desk.passage(24))
    view: Attention = found.view
    assert view.scores is not None, "a run's text is at hand"
    heads = view.scores.heads
    back = max(heads, key=lambda head: head.previous)
    dearest = heads[0]
    yield Answer(
        "a" if dearest is back else "b",
        f"Head {_name(dearest)} costs {dearest.zero:.3f} nats. Most looks back {_name(back)}, with {back.previous:.0%} "
        f"of its weight on the character before; it costs {back.zero:.3f}.",
    )
    yield Table.of(
        "head | previous | duplicate | induction | bits | left out | +- | its mean",
        [_row(head) for head in heads],
        "layer.head; mean weight on the token before, on earlier copies of the current token, on what followed those\n"
        f"(spread evenly: {', '.join(_share(value) for value in view.scores.chance.values())}); bits: entropy of the "
        "weights\nleft out, its mean: nats per token more without what it adds, and with its mean everywhere, on\n"
        f"{view.scores.measured_on}",
    )
    yield found.picture("worth", "what each head is worth")
    counted = yield from desk.experiment({"n_head": [1, 4]}, seeds=SEEDS, **SIZE, **PACE)
    yield losses(counted.outcomes)
    subject = yield from _story(desk)
    yield from _slices(run, view)
    yield _how_many(counted)
    yield _habits(back, dearest, heads)
    yield _sums(run)
    yield _subject(subject)


def _name(head: "HeadScore") -> str:
    return f"{head.layer}.{head.head}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(head: "HeadScore") -> tuple[str, ...]:
    habits = (head.previous, head.duplicate, head.induction)
    worth = (f"{head.zero:+.3f}", _share(head.zero_error), f"{head.mean:+.3f}")
    return _name(head), *map(_share, habits), f"{head.entropy:.2f}", *worth


def _slices(run: "Run", view: "Attention") -> Iterator[Claim]:
    """How much of a head's matrices reads the head's own part of the vector."""
    import torch

    from clearhead.inspection.passage import gpt_of

    gpt, _ = gpt_of(run.model, "heads")
    nh, hs, C = view.heads, view.head_size, gpt.config.n_embd
    with torch.no_grad():
        weights = [gpt.get_parameter(f"blocks.{layer}.sa.qkv.weight") for layer in range(view.layers)]
        packed = torch.stack([weight.view(3, nh, hs, C) for weight in weights])  # (L, 3, nh, hs, C)
        squares = packed.square().sum((1, 3)).view(view.layers, nh, nh, hs).sum(-1)  # (L, nh, nh): head, part read
    error = view.attention_error
    own = float((squares.diagonal(dim1=1, dim2=2) / squares.sum(-1)).mean())
    yield Claim(
        "whole vector",
        own < 0.6,
        f"A head reads all {C} numbers of a vector: each of its three matrices is {hs} x {C}. Of their squares "
        f"{own:.0%} fall on the head's own {hs} numbers, and 1 of {nh} would be {1 / nh:.0%}: nothing in training has "
        "given a head a part of the vector. What is split is the result, not what is read; and what the heads say, "
        f"each through its columns of the projection, adds up to the layer's attention (to {tiny(error)}).",
        f"Of the squares of a head's matrices {own:.0%} fall on its own {hs} of {C} numbers.",
        note="the embedding is cut into slices, and each head gets one",
    )


def _how_many(counted: "Experiment") -> Claim:
    one, four = counted.outcome(1), counted.outcome(4)
    shown = counted.comparison is not None and any(each.shown for each in counted.comparison.differences)
    better = always_lower(four, one) and shown
    return Claim(
        "number of heads",
        one.parameters == four.parameters and not better,
        f"One head and four have the same {one.parameters:,} parameters: more heads are smaller heads. After "
        f"{one.steps:,} steps one head loses {one.nats_per_token:.3f} nats and four {four.nats_per_token:.3f}; that "
        f"four are better is not shown here ({len(counted.seeds)} seeds).",
        f"One head and four have {one.parameters:,} and {four.parameters:,} parameters, and lose "
        f"{one.nats_per_token:.3f} and {four.nats_per_token:.3f} nats.",
        note="more heads make a larger and a better model",
    )


def _habits(back: "HeadScore", dearest: "HeadScore", heads: "tuple[HeadScore, ...]") -> Claim:
    cheapest = heads[-1]
    return Claim(
        "habits",
        dearest is not back,
        f"What a head looks at does not say what it is worth. {_name(back)} gives the character before "
        f"{back.previous:.3f} of its weight, {_name(dearest)} {dearest.previous:.3f}; left out, they cost "
        f"{back.zero:.3f} and {dearest.zero:.3f} nats. The least costs {_name(cheapest)}: {cheapest.zero:.3f}.",
        f"Here the head that looks back most, {_name(back)} with {back.previous:.3f}, costs most, too: {back.zero:.3f} "
        f"nats; the least costs {_name(cheapest)}: {cheapest.zero:.3f}.",
        note="the clearer its pattern, the more a head matters",
    )


def _sums(run: "Run") -> Claim:
    """Heads left out one at a time, beside all heads of their layer at once, where that is most different."""
    from clearhead.inspection.heads import ablated, measured_windows
    from clearhead.inspection.passage import gpt_of
    from clearhead.inspection.trace import trace

    gpt, _ = gpt_of(run.model, "heads")
    windows = measured_windows(gpt, run.data)
    seen = trace(gpt, windows.x)
    before = nats(seen.logits, windows.y).mean()

    def cost(logits: Any) -> float:
        return float(nats(logits, windows.y).mean() - before)

    found = []
    for layer in range(gpt.config.n_layer):
        alone = [cost(ablated(seen, layer, h)) for h in range(gpt.config.n_head)]
        together = cost(_silenced(seen, layer))
        found.append((abs(sum(alone) / together - 1) if together else 0.0, layer, alone, together))
    apart, layer, alone, together = max(found)
    return Claim(
        "no sum",
        apart > 0.1,
        f"Costs do not add up. The {len(alone)} heads of layer {layer}, left out one at a time, cost "
        f"{' + '.join(f'{one:.3f}' for one in alone)} nats, which would be {sum(alone):.3f}; all at once cost "
        f"{together:.3f}. A head's cost is that of leaving it out of this model, beside these others, and no share of "
        "the work.",
        f"The {len(alone)} heads of layer {layer} cost {sum(alone):.3f} nats one at a time, added up, and "
        f"{together:.3f} all at once.",
        note="what each head costs is its share of the work",
    )


def _silenced(seen: "Trace", layer: int) -> Any:
    """(B, T, V) logits when no head of a layer adds anything."""
    from clearhead.evaluation.loss import evaluating

    block, gpt = seen.blocks[layer], seen.model
    with evaluating(gpt):
        x = block.middle - block.contributions.sum(1)
        x = x + block.block.ffwd(block.block.ln2(x))
        for later in gpt.blocks[layer + 1 :]:
            x = later(x)
        return gpt.lm_head(gpt.ln_f(x))


def _story(desk: "Desk") -> Generator[Part, None, list[Tested]]:
    yield Say(
        "And what does a query seek? 'The query seeks a subject' is a story. Here is how to test one, in a language "
        "where it is known who the subject is. After 'the king showed' comes 'his', after 'the queens walked to' comes "
        "'their': the subject decides, and it stands one token back or two. If a head seeks it, then (1) its weight "
        "lies on the subject, far above chance; (2) at both distances, or it may be a habit of looking so many tokens "
        "back; (3) without the head these words are lost, and others are not."
    )
    kings = yield from desk.on("grammar").kings()
    tested = seekers(kings)
    rows = [
        (one.name, f"{one.near:.3f}", f"{one.far:.3f}", f"{one.even:.3f}", f"{one.owners:+.3f}", f"{one.others:+.3f}")
        for one in tested
    ]
    yield Table.of(
        "head | one back | two back | spread evenly | left out: his, her, its, their | left out: other words",
        rows,
        "mean weight on the subject; nats per word more when the head is left out",
    )
    return tested


def _subject(tested: list[Tested]) -> Claim:
    one, rest = tested[0], tested[1:]
    least, most = min(one.near, one.far), max(other.owners for other in rest)
    return Claim(
        "subject",
        least > 3 * one.even and one.owners > 3 * max(one.others, 0.0) and one.owners > 0.5,
        f"Head {one.name} passes: {one.near:.3f} and {one.far:.3f} of its weight lie on the subject, {one.even:.3f} "
        f"would be chance, and without it these words cost {one.owners:.2f} nats more, others {one.others:.2f}. For "
        f"the {len(rest)} other heads the words cost {most:.2f} more at most: of them the "
        f"story is not true. What this does not show: that the head does nothing else (others cost {one.others:.2f}), "
        "that it goes by the grammar and not by a list of nouns, or that a model of another seed has such a head. "
        "On your text nobody has marked the subjects, and a story stays a story.",
        f"Head {one.name} matters most for these words: {one.owners:.2f} nats more without it, {one.others:.2f} on "
        f"others; its weight on the subject is {one.near:.3f} and {one.far:.3f}, by chance {one.even:.3f}. The story "
        "does not pass all three tests here.",
    )


LESSON = Lesson(
    number=8,
    slug="many-heads",
    title="Many heads",
    question="Does each head have its own task, and how would one know?",
    teach=teach,
    code=CODE,
    views=("attention",),
    needs=5_000,
    because="heads are measured on windows of what was held back",
)
