"""Lesson 9: feed-forward, residuals and LayerNorm."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.outcomes import always_lower, first_run, losses
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.experiments.experiment import Outcome
    from clearhead.lessons.desk import Desk

SIZE: dict[str, Any] = {"n_layer": 4, "batch_size": 16}
"""Deep enough that what a block does not pass on is missed."""
STEPS, SEEDS = 300, 2
PACE: dict[str, Any] = {"max_iters": STEPS, "eval_interval": STEPS}
"""No curve is shown, so a run looks at its losses before the first step and after the last."""
SHOWN = 5
"""Numbers of a row that are shown."""
PASSAGE = 16
"""Characters whose rows are normalised."""

CODE = """
import torch
from torch import nn

text = open("input.txt", encoding="utf-8").read()
stoi = {ch: i for i, ch in enumerate(sorted(set(text)))}
torch.manual_seed(1337)
T, C = 8, 32
x = 3 * nn.Embedding(len(stoi), C)(torch.tensor([stoi[c] for c in text[:T]])) + 1  # (T, C)
ln, ffwd = nn.LayerNorm(C), nn.Sequential(nn.Linear(C, 4 * C), nn.ReLU(), nn.Linear(4 * C, C))
mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)  # of each row, over its C numbers
xhat = (x - mean) / (var + 1e-5).sqrt() * ln.weight + ln.bias
assert torch.allclose(xhat, ln(x), atol=1e-5)
print(f"a row before: mean {x[0].mean():.2f}, deviation {x[0].std(unbiased=False):.2f}")
print(f"and after: {xhat[0].mean():.2f}, {xhat[0].std(unbiased=False):.2f}")
x = x + ffwd(ln(x))  # the residual connection: what is computed is added to what was there
print(x.shape)
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """One row through a LayerNorm; then four blocks without each of the three."""
    layers = SIZE["n_layer"]
    yield Say(
        "A block is attention and a feed-forward. Each reads the stream through a LayerNorm, and what it computes is "
        f"added to the stream: that is the residual connection. We train {layers} small blocks whole, and without the "
        "residual connections, without the feed-forward, and without LayerNorm."
    )
    choices = (("a", "the residual connections"), ("b", "the feed-forward"), ("c", "LayerNorm"))
    yield Ask("Which of the three is missed most when it is left out from the first step on?", choices)
    parts = ["none", "residual", "feed_forward"]
    found = yield from desk.experiment({"without": parts}, seeds=SEEDS, **SIZE, **PACE)
    normed = yield from desk.experiment({"norm": ["layernorm", "none"]}, seeds=SEEDS, **SIZE, **PACE)
    whole, lonely, idle = (found.outcome(part) for part in parts)
    bare = normed.outcome("none")
    left = (lonely, idle, bare)
    most = max(left, key=lambda one: one.nats_per_token)
    costs = ", ".join(f"{one.name} {one.nats_per_token - whole.nats_per_token:+.3f}" for one in left)
    yield Answer("abc"[left.index(most)], f"In nats per token against the whole: {costs}.")
    yield losses([whole, *left])
    run = first_run(whole)
    row = _Row.of(run, desk.passage(PASSAGE))
    yield Say(
        f"What does LayerNorm do? One row of the stream on its way into the last block: the {row.width} numbers of "
        f"character {row.position} ({row.token}) of {row.characters}. Their mean is {row.mean:+.4f}, their variance "
        f"{row.variance:.4f}, its root {row.variance**0.5:.4f}."
    )
    yield Table.of("number | x | - mean | / root | x gain + bias | LayerNorm gave", row.lines, row.caption)
    unigram = _unigram(desk)
    fresh, cut = _Fresh.of(run, "none"), _Fresh.of(run, "residual")
    yield Say(
        f"Who knows only how frequent each character is loses {unigram:.3f} nats on the validation text. Before the "
        "first step, what comes out of the last block for two characters of a window has the cosine "
        f"{fresh.alike:.2f} in the whole model, and {cut.alike:.2f} without residual connections. The first gradient "
        f"of the embedding is {fresh.gradient:.2f} and {cut.gradient:.2f} long."
    )
    yield _norm(row)
    yield _bare(whole, bare)
    yield _residual(whole, lonely, unigram, fresh, cut)
    yield from _feed_forward(run, whole, idle, (lonely, bare))


@dataclass(frozen=True)
class _Row:
    """A row of the stream and what LayerNorm makes of it, step by step."""

    position: int
    token: str
    characters: int
    width: int
    mean: float
    variance: float
    lines: list[tuple[str, ...]]
    by_hand: float
    """The largest difference of the steps from what the layer gave, over all numbers."""
    alone: float
    """The largest difference when the row is normalised without the other rows."""
    after: tuple[float, float]
    """Mean and deviation after gain and bias."""
    gains: tuple[float, float]
    """The smallest and the largest."""

    @classmethod
    def of(cls, run: "Run", text: str) -> "_Row":
        """The last row of a text, before the last block's attention."""
        import torch

        from clearhead.inspection.passage import read_passage
        from clearhead.inspection.trace import trace

        passage = read_passage(text, run.model, run.tokenizer)
        block = trace(run.model, passage.idx).blocks[-1]
        norm, t = block.block.ln1, len(passage) - 1
        assert isinstance(norm, torch.nn.LayerNorm)
        x, gave = block.before[0, t], block.ln1[0, t]  # (C,)
        gain = norm.weight.detach()
        bias = torch.zeros_like(gain) if norm.bias is None else norm.bias.detach()
        mean, variance = x.mean(), x.var(unbiased=False)
        centred = x - mean
        scaled = centred / (variance + norm.eps).sqrt()
        made = scaled * gain + bias
        columns = torch.stack([x, centred, scaled, made, gave], 1)[:SHOWN].tolist()
        with torch.no_grad():
            alone = float((norm(x) - gave).abs().max())
        return cls(
            position=t,
            token=passage.tokens[t],
            characters=len(passage),
            width=len(x),
            mean=float(mean),
            variance=float(variance),
            lines=[(str(i), *(f"{value:+.4f}" for value in line)) for i, line in enumerate(columns)],
            by_hand=float((made - gave).abs().max()),
            alone=alone,
            after=(float(gave.mean()), float(gave.std(unbiased=False))),
            gains=(float(gain.min()), float(gain.max())),
        )

    @property
    def caption(self) -> str:
        """Under the table."""
        return (
            f"the first {SHOWN} of {self.width} numbers; divided by the root they have mean 0 and deviation 1, then "
            "each number\n"
            f"has a gain of its own, learned, here {self.gains[0]:.2f} to {self.gains[1]:.2f}: after it mean "
            f"{self.after[0]:+.3f}, deviation {self.after[1]:.3f}"
        )


def _norm(row: _Row) -> Claim:
    return Claim(
        "one row",
        row.by_hand < 1e-4 and row.alone < 1e-5,
        f"LayerNorm takes the mean and the deviation of one character's {row.width} numbers. By hand that gives the "
        f"layer's numbers to {tiny(row.by_hand)}, and without the other {row.characters - 1} rows the same, to "
        f"{tiny(row.alone)}: it knows no other character and no batch.",
        f"By hand the row differs by {tiny(row.by_hand)}, alone by {tiny(row.alone)}.",
        note="LayerNorm normalises over the batch",
    )


def _bare(whole: "Outcome", bare: "Outcome") -> Claim:
    more = bare.nats_per_token - whole.nats_per_token
    return Claim(
        "without norm",
        always_lower(whole, bare, by=0.02),
        f"Without LayerNorm training does not explode here: it is slower. After {whole.steps:,} steps it is at "
        f"{bare.nats_per_token:.3f} nats instead of {whole.nats_per_token:.3f}, {more:.3f} behind. The layers have "
        f"{whole.parameters - bare.parameters:,} of {whole.parameters:,} parameters.",
        f"After {whole.steps:,} steps the loss is {bare.nats_per_token:.3f} nats without LayerNorm and "
        f"{whole.nats_per_token:.3f} with it.",
        note="without LayerNorm the numbers explode",
    )


def _residual(whole: "Outcome", lonely: "Outcome", unigram: float, fresh: "_Fresh", cut: "_Fresh") -> Claim:
    return Claim(
        "without residuals",
        always_lower(whole, lonely, by=0.1) and lonely.nats_per_token > unigram - 0.1 and cut.alike > 0.9 > fresh.alike,
        f"Without residual connections {SIZE['n_layer']} blocks have learned next to nothing but frequencies in "
        f"{whole.steps:,} steps: {lonely.nats_per_token:.3f} nats, where those alone lose {unigram:.3f} and the whole "
        f"model {whole.nats_per_token:.3f}. A gradient does arrive, {cut.gradient:.2f} long beside "
        f"{fresh.gradient:.2f}. What is gone is who is who: a head that does not yet look averages the past, and "
        f"where the average replaces the character, all come out alike (cosine {cut.alike:.2f}, with the connections "
        f"{fresh.alike:.2f}).",
        f"Without residual connections it loses {lonely.nats_per_token:.3f} nats, with them "
        f"{whole.nats_per_token:.3f}; frequencies alone lose {unigram:.3f}.",
        note="without residual connections no gradient arrives",
    )


def _unigram(desk: "Desk") -> float:
    """Nats per character of the validation text by the frequencies of the training text, one added to each."""
    import numpy as np

    from clearhead.evaluation.ladder import score_split

    V, split = desk.tokenizer.vocab_size, score_split(desk.data)
    counts = np.bincount(desk.data.ids("counts"), minlength=V) + 1.0
    return float(-np.log(counts / counts.sum())[desk.data.ids(split)].mean())


@dataclass(frozen=True)
class _Fresh:
    """A model before its first step, on the first batch."""

    alike: float
    """Mean cosine of what the last block says at two positions of a window."""
    gradient: float
    """The length of the embedding's first gradient."""

    @classmethod
    def of(cls, run: "Run", without: str) -> "_Fresh":
        """Of a run's shape without a part."""
        import torch
        from torch.nn import functional as F

        from clearhead.initialise import initialise
        from clearhead.models.gpt import GPTLanguageModel

        seed, config = run.config.train.seed, {**run.model.to_config(), "without": without}
        model = GPTLanguageModel.from_config(config).to(run.model.device)
        initialise(model, run.config.init, seed=seed)
        size = {"batch_size": SIZE["batch_size"], "block_size": model.config.block_size}
        x, y = (part.to(model.device) for part in run.data.get_batch("train", 0, **size, seed=seed))
        loss = model(x, y).loss
        assert loss is not None
        loss.backward()
        (gradient,) = (p.grad for name, p in model.named_parameters() if name.startswith("token_embedding"))
        assert gradient is not None
        with torch.no_grad():
            said = model.embed(x)
            for block in model.blocks:
                said = block(said)
            said = F.normalize(said, dim=-1)  # (B, T, C)
            cosines = said @ said.mT  # (B, T, T)
        apart = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        return cls(float(cosines[:, apart].mean()), float(gradient.norm()))


def _feed_forward(run: "Run", whole: "Outcome", idle: "Outcome", others: "tuple[Outcome, ...]") -> Iterator[Claim]:
    import torch

    from clearhead.inspection.passage import gpt_of
    from clearhead.inspection.trace import trace

    gpt, _ = gpt_of(run.model, "layers")
    ids = run.data.ids("train")[:PASSAGE].tolist()
    block = trace(gpt, ids).blocks[-1]
    turned = block.ln2.flip(1)
    with torch.no_grad():
        alone = float((block.block.ffwd(turned).flip(1) - block.feed_forward).abs().max())
    share = 1 - idle.parameters / whole.parameters
    more = idle.nats_per_token - whole.nats_per_token
    yield Claim(
        "each alone",
        alone < 1e-4,
        f"The feed-forward mixes no characters: turn {len(ids)} rows round, compute, turn back, and the numbers are "
        f"the same, to {tiny(alone)}. Only attention carries something from one character to another.",
        f"Rows turned round differ by {tiny(alone)}.",
        note="the feed-forward mixes the characters once more",
    )
    yield Claim(
        "without feed-forward",
        more > 0 and share > 0.5 and all(always_lower(idle, other) for other in others),
        f"The feed-forward is the largest part and, so early, the least missed: {share:.0%} of the parameters, and "
        f"without it {more:.3f} nats more after {whole.steps:,} steps. That says what it is worth now, not what it "
        "will be worth after a long training.",
        f"Without the feed-forward ({share:.0%} of the parameters) the loss changes by {more:+.3f} nats after "
        f"{whole.steps:,} steps.",
        note="the part with the most parameters matters most",
    )


LESSON = Lesson(
    number=9,
    slug="residuals",
    title="Feed-forward, residuals, LayerNorm",
    question="What are the other parts of a block for, and what is lost without each?",
    teach=teach,
    code=CODE,
    views=("lens", "step"),
    needs=5_000,
    because="models are trained on it, and compared on what was held back",
)
