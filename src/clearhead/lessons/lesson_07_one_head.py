"""Lesson 7: one head."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.outcomes import always_lower, first_run, losses
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Quote, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.experiments.experiment import Outcome
    from clearhead.inspection.attention import Attention
    from clearhead.lessons.desk import Desk

HEAD: dict[str, Any] = {"n_layer": 1, "n_head": 1, "n_embd": 64, "block_size": 32}
"""One block with one head, so that its size is the whole width."""
STEPS, SEEDS = 300, 2
PACE: dict[str, Any] = {"max_iters": STEPS, "eval_interval": STEPS}
"""No curve is shown, so a run looks at its losses before the first step and after the last."""
SHOWN = 8
"""Characters that the head is shown working on."""
FIRST = 4
"""Numbers of a vector that are shown."""
WRITTEN = 100
"""Characters that each head writes."""
WINDOWS = 400
"""Windows whose last character is predicted without a look ahead."""

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
torch.manual_seed(1337)
T, C, head_size = 8, 32, 16
x = nn.Embedding(len(stoi), C)(torch.tensor([stoi[c] for c in text[:T]]))  # (T, C)
key, query, value = (nn.Linear(C, head_size, bias=False) for _ in range(3))
k, q, v = key(x), query(x), value(x)  # (T, hs) each
wei = q @ k.T * head_size**-0.5  # (T, hs) @ (hs, T) -> (T, T)
wei = wei.masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
wei = F.softmax(wei, dim=-1)  # rows sum to 1
out = wei @ v  # (T, T) @ (T, hs) -> (T, hs)
print(wei, out.shape)
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """One head with all its parts, without the mask and without the scale; then the head at work, number by number."""
    C = HEAD["n_embd"]
    yield Say(
        "In a head every character writes three vectors: a query (what it looks for), a key (what it has to offer) and "
        "a value (what it says when it is listened to). Query times key is a score; the scores of the past, through a "
        f"softmax, are weights; the weighted mean of the values is the answer. We train a GPT of one block and one "
        f"head, {C} numbers wide, for a few hundred steps, and leave out one part at a time."
    )
    choices = (("a", "higher"), ("b", "about as high"), ("c", "less than half as high"))
    yield Ask(
        "Without the mask a character listens to those that follow it, too. How high is the validation loss of a head "
        "that is trained so, beside that of the same head with the mask?",
        choices,
    )
    found = yield from desk.experiment({"without": ["none", "scale", "mask"]}, seeds=SEEDS, **HEAD, **PACE)
    whole, unscaled, unmasked = (found.outcome(value) for value in ("none", "scale", "mask"))
    much, little = whole.nats_per_token, unmasked.nats_per_token
    letter = "c" if little < much / 2 else "a" if little > 1.02 * much else "b"
    yield Answer(letter, f"With the mask it loses {much:.3f} nats per token, without it {little:.3f}.")
    yield losses([whole, unmasked])
    masked, peeking = first_run(whole), first_run(unmasked)
    honest = _last_losses(masked), _last_losses(peeking)
    yield Say(
        "Is it that good? At the last position of a window nothing lies ahead. There it must predict, as it must when "
        f"it writes: over {WINDOWS} windows the head with the mask loses {honest[0]:.3f} nats there, the one without "
        f"{honest[1]:.3f}. Each writes on from the beginning of the validation text:"
    )
    for run in (masked, peeking):
        prompt = desk.passage(SHOWN)
        yield Quote(prompt + (yield from desk.generate(run, prompt, max_new_tokens=WRITTEN)))
    yield Say(
        f"Now the scale: scores are divided by the root of the head's size, here by {C**0.5:g}. The start is the "
        "usual one, small numbers N(0, 0.02)."
    )
    choices = (("a", "higher"), ("b", "lower"), ("c", "no difference in each of the seeds"))
    yield Ask("What is the loss without the scale, after the same steps?", choices)
    b = always_lower(unscaled, whole)
    answer = "b" if b else "a" if always_lower(whole, unscaled) else "c"
    yield Answer(answer, f"{unscaled.nats_per_token:.3f} stands beside {whole.nats_per_token:.3f} with the scale.")
    wide = yield from desk.experiment({"scale": ["on", "off"]}, seeds=SEEDS, **HEAD, init="xavier", **PACE)
    on, off = wide.outcome("on"), wide.outcome("off")
    small, large = _Start.of(masked, "normal"), _Start.of(masked, "xavier")
    yield Table.of(
        "start | q.k, deviation | bits, scaled | bits, unscaled | loss, scaled | loss, unscaled",
        [small.row("N(0, 0.02)", whole, unscaled), large.row("Xavier", on, off)],
        f"before the first step: deviation of q.k, entropy of the weights; after {whole.steps:,} steps: nats per token",
    )
    view = yield from _at_work(desk, masked)
    yield _mask(much, little, honest)
    yield _scale(whole, unscaled, on, off, large)
    yield from _nature(masked, view)


def _last_losses(run: "Run") -> float:
    """Nats of the last character of windows, which no position of them can see."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from clearhead.evaluation.ladder import score_split

    split = score_split(run.data)
    ids, T = run.data.ids(split), run.data.fits(HEAD["block_size"], split)
    starts = np.linspace(0, len(ids) - 1 - T, WINDOWS).astype(np.int64)
    rows = torch.from_numpy(np.asarray(ids[starts[:, None] + np.arange(T + 1)], dtype=np.int64)).to(run.model.device)
    with torch.no_grad():
        return float(F.cross_entropy(run.model(rows[:, :-1]).logits[:, -1], rows[:, -1]))


@dataclass(frozen=True)
class _Start:
    """A head before its first step, over windows of the text."""

    deviation: float
    """Of q.k, over what the mask leaves."""
    scaled: float
    """Entropy of the weights in bits, mean over positions."""
    unscaled: float

    @classmethod
    def of(cls, run: "Run", init: str) -> "_Start":
        """Of a fresh model of a run's shape."""
        import torch

        from clearhead.initialise import initialise
        from clearhead.inspection.heads import entropy, measured_windows, unscaled
        from clearhead.inspection.trace import trace
        from clearhead.models.gpt import GPTLanguageModel

        assert isinstance(run.model, GPTLanguageModel)
        model = GPTLanguageModel(run.model.config).to(run.model.device)
        initialise(model, init, seed=run.config.train.seed)
        (block,) = trace(model, measured_windows(model, run.data).x).blocks
        past = torch.isfinite(block.scores)
        deviation = float(block.products[past].std())
        return cls(deviation, *(float(entropy(wei).mean()) for wei in (block.wei, unscaled(block))))

    def row(self, name: str, on: "Outcome", off: "Outcome") -> tuple[str, ...]:
        """A line of the table of starts."""
        figures = (self.deviation, self.scaled, self.unscaled, on.nats_per_token, off.nats_per_token)
        return name, *(f"{figure:.3f}" for figure in figures)


def _at_work(desk: "Desk", run: "Run") -> Generator[Part, None, "Attention"]:
    """The head on the beginning of the text, for its last character."""
    yield Say("The trained head at work, with the mask and the scale: what the last character of a short text hears.")
    found = yield from desk.inspect(run, "attention", desk.passage(SHOWN), layer=0, head=0)
    view: Attention = found.view
    chain = view.chain
    assert chain is not None, "a layer and a head were asked for"
    t = chain.position
    rows = [
        (
            s,
            view.tokens[s],
            f"{chain.products[t, s]:+.3f}",
            f"{chain.scores[t, s]:+.3f}",
            f"{chain.wei[t, s]:.3f}",
            f"{chain.v[s, 0]:+.3f}",
            f"{chain.wei[t, s] * chain.v[s, 0]:+.3f}",
        )
        for s in range(t + 1)
    ]
    said = (
        f"q.k: the query of {view.tokens[t]} times each key, {chain.q.shape[1]} products added up; scaled: times "
        f"{chain.scale:g}; weight: the softmax\n"
        f"v 0: the first of {chain.v.shape[1]} numbers of each value; times the weights, the sum is "
        f"{chain.out[t, 0]:+.3f}, the first number of the answer\n"
        f"the answer begins {', '.join(f'{x:+.3f}' for x in chain.out[t, :FIRST])}, ..."
    )
    yield Table.of("position | token | q.k | scaled | weight | v 0 | weight x v 0", rows, said)
    yield found.picture("chain", "the same for all positions: products, scores, weights")
    return view


def _mask(much: float, little: float, honest: tuple[float, float]) -> Claim:
    return Claim(
        "mask",
        little < much / 2 and honest[1] > honest[0],
        f"Without the mask the loss is far too good: {little:.3f} against {much:.3f} nats, for the answer stands in "
        f"the question. Where nothing lies ahead it loses {honest[1]:.3f}, more than the {honest[0]:.3f} of the head "
        "with the mask: it has learned to look, not to predict. A loss too good to be true is a leak to be found.",
        f"After these steps the head without the mask loses {little:.3f} nats, with it {much:.3f}; where nothing lies "
        f"ahead {honest[1]:.3f} and {honest[0]:.3f}.",
        note="the lower the validation loss, the better the model",
    )


def _scale(whole: "Outcome", unscaled: "Outcome", on: "Outcome", off: "Outcome", large: _Start) -> Claim:
    sooner = always_lower(unscaled, whole)
    return Claim(
        "scale",
        always_lower(on, off) and unscaled.nats_per_token < whole.nats_per_token + 0.05,
        "It depends on the start. Xavier makes queries and keys of about size 1, so q.k deviates by "
        f"{large.deviation:.1f} before the first step, about the root of {HEAD['n_embd']}: unscaled, a softmax of "
        f"that looks at hardly more than one character ({large.unscaled:.2f} bits, scaled {large.scaled:.2f}), and "
        f"after the steps it loses {off.nats_per_token:.3f} instead of {on.nats_per_token:.3f}. From N(0, 0.02) all "
        f"products begin near 0, and without the scale it is {unscaled.nats_per_token:.3f} against "
        f"{whole.nats_per_token:.3f}: nothing breaks{', here it even learns sooner' * sooner}.",
        f"From N(0, 0.02) the loss is {whole.nats_per_token:.3f} with the scale and {unscaled.nats_per_token:.3f} "
        f"without, from Xavier {on.nats_per_token:.3f} and {off.nats_per_token:.3f}.",
        note="without the scale a head cannot be trained",
    )


def _nature(run: "Run", view: "Attention") -> Iterator[Claim]:
    """What is learned in a head, and what is computed anew for each text."""
    import numpy as np
    import torch

    from clearhead.inspection.trace import trace

    chain, C = view.chain, HEAD["n_embd"]
    assert chain is not None
    by_hand = float(np.abs(np.einsum("ts,sh->th", chain.wei.astype(np.float64), chain.v) - chain.out).max())
    loose = torch.from_numpy(chain.q @ chain.k.T * chain.scale).tril()
    loose = loose.masked_fill(torch.ones_like(loose).tril() == 0, float("-inf")).softmax(-1).numpy()
    again = float(np.abs(loose - chain.wei).max())
    yield Claim(
        "chain",
        max(by_hand, again) < 1e-4,
        f"q.k, times {chain.scale:g}, the future at minus infinity, softmax, times v: done by hand from the q, k and v "
        f"of these {len(view.tokens)} characters this gives the head's weights to {tiny(again)} and its answers to "
        f"{tiny(by_hand)}. There is nothing else in a head.",
        f"By hand the weights differ by {tiny(again)}, the answers by {tiny(by_hand)}.",
    )
    ids, T = run.data.ids("train"), len(view.tokens)
    texts = (ids[:T].tolist(), ids[T : 2 * T].tolist())
    first, second = (trace(run.model, text).blocks[0].wei[0, 0] for text in texts)
    moved = float((first - second).abs().max())
    yield Claim(
        "not parameters",
        moved > 0.01,
        f"What is learned are three matrices of {C} x {C}: {3 * C * C:,} numbers, for {len(view.tokens)} characters or "
        f"for {HEAD['block_size']}. The weights are computed anew for each text: on the first {len(view.tokens)} "
        f"characters of the training text and on the next as many they differ by up to {moved:.2f}.",
        f"On two pieces of the text the weights differ by {moved:.4f} at most: it has hardly begun to look.",
        note="a head learns its table of attention weights",
    )


LESSON = Lesson(
    number=7,
    slug="one-head",
    title="One head",
    question="What do query, key and value do, and what are the scale and the mask for?",
    teach=teach,
    code=CODE,
    views=("attention",),
    needs=5_000,
    because="heads are trained on it, and compared on what was held back",
)
