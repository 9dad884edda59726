"""Lesson 12: dimensions."""

from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from clearhead.lessons.analogies import IN_WORDS, answers_table, ask, cosine_of, place_of_queen, word_counts
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.trying import pictured
from clearhead.lessons.words import times, tiny

if TYPE_CHECKING:
    from clearhead.experiments.experiment import Experiment
    from clearhead.inspection.analogies import Answer as Answered
    from clearhead.inspection.dimensions import Meaning
    from clearhead.inspection.tables import Floats
    from clearhead.lessons.desk import Desk

WIDTHS = (2, 8, 32, 128)
STEPS = 200
SHORT: dict[str, Any] = {"max_iters": STEPS, "learning_rate": 3e-3, "eval_interval": 50, "eval_iters": 5}
"""Of each run."""
ROYAL, TENSE = ("man", "king", "woman"), ("walk", "walked", "climb")
WORDS = ("king", "queen", "man", "woman", "walk", "walked")

CODE = """
import torch
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text[:100_000]])
V = len(chars)
N = torch.ones(V, V).index_put_((data[:-1], data[1:]), torch.ones(len(data) - 1), accumulate=True)
U, S, _ = torch.linalg.svd(N.log() - N.log().mean(1, keepdim=True))
for n_embd in (2, 8, 32):  # the best places for tokens in so many dimensions, by the pairs of the text
    table = U[:, :n_embd] * S[:n_embd]
    rotation, _ = torch.linalg.qr(torch.randn(table.shape[1], table.shape[1]))
    turned = table @ rotation  # other numbers, the same space
    cosines = [F.cosine_similarity(t[:, None], t[None], dim=-1) for t in (table, turned)]
    print(n_embd, f"{S[:n_embd].square().sum() / S.square().sum():.2f}", torch.allclose(*cosines, atol=1e-4))
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """Four widths; the dimensions of one beside the same space turned; analogies in a known grammar, and here."""
    widths = ", ".join(map(str, WIDTHS))
    yield Say(
        f"n_embd is how many numbers a token is made of. We train the same small GPT with {widths} of them, {STEPS} "
        "steps on the same batches, two seeds each."
    )
    steps = tuple(zip("abc", (f"from {a} to {b}" for a, b in pairwise(WIDTHS)), strict=True))
    yield Ask("Which step lowers the loss most?", steps)
    trying = desk.experiment({"n_embd": WIDTHS}, seeds=2, **SHORT)
    found, picture = yield from pictured(trying, "validation loss through training, for four widths")
    losses = [found.outcome(width).nats_per_token for width in WIDTHS]
    gains = [before - after for before, after in pairwise(losses)]
    yield Answer("abc"[gains.index(max(gains))], f"In nats: {', '.join(f'{gain:.3f}' for gain in gains)}.")
    yield _widths(found, gains)
    yield Say(f"The verdict: {found.verdict}.")
    yield picture
    run = yield from desk.gpt()
    view = (yield from desk.inspect(run, "embeddings")).view
    meaning: Meaning = view.tables[0].meaning
    yield Say(
        f"And what does a dimension mean? We take the shared GPT, {run.config.architecture.n_embd} wide, and "
        "correlate each dimension of its table with what is known of the tokens. The best of many correlates by "
        f"chance, too; so the same space is turned at random, {meaning.trials} times, and its best axis stands beside."
    )
    names = ", ".join(feature.name for feature in meaning.features) or "none that can be tested"
    yield Ask(f"Features: {names}. How many go along with some dimension better than with a space turned at random?")
    yield Answer(len(_special(meaning)), "With p below 0.05, multiplied by the number of features.")
    yield from _features(meaning)
    kings = yield from desk.on("grammar").kings()
    royal = yield from ask(desk.on("grammar"), kings, ROYAL)
    tense = yield from ask(desk.on("grammar"), kings, TENSE)
    counts = word_counts(desk, *WORDS)
    own = yield from _own(desk, counts)
    yield answers_table([("grammar", ROYAL, royal), ("grammar", TENSE, tense), (desk.corpus.name, ROYAL, own)])
    yield Table.of("word | in your training text", [(word, f"{count:,}") for word, count in counts.items()])
    yield _diminishing(losses, gains)
    yield from _meaning_verdict(meaning, view.tables[0].table.vectors)
    yield from _analogy_verdict(royal, tense)
    yield _own_verdict(counts, own)


def _widths(found: "Experiment", gains: Sequence[float]) -> Table:
    rows = [
        (
            width,
            f"{found.outcome(width).nats_per_token:.4f}",
            f"{found.outcome(width).spread or 0:.4f}",
            f"{found.outcome(width).parameters:,}",
            f"{gain:.3f}" if gain is not None else "-",
            f"{gain / (width - before):.4f}" if gain is not None else "-",
        )
        for width, before, gain in zip(WIDTHS, (0, *WIDTHS), (None, *gains), strict=False)
    ]
    head = "n_embd | nats per token | spread | parameters | gained | for each dimension added"
    return Table.of(head, rows, "on the whole validation text")


def _special(meaning: "Meaning") -> list[str]:
    from clearhead.inspection.dimensions import LEVEL

    return [feature.name for feature in meaning.features if feature.p_rotation <= LEVEL]


def _known(meaning: "Meaning") -> list[str]:
    from clearhead.inspection.dimensions import LEVEL

    return [feature.name for feature in meaning.features if feature.p_permutation <= LEVEL]


def _features(meaning: "Meaning") -> Iterator[Part]:
    rows = [
        (
            feature.name,
            feature.tokens,
            feature.best_dimension,
            f"{feature.correlation:+.2f}",
            f"{feature.rotated:.2f}",
            f"{feature.p_rotation:.3f}",
            f"{feature.p_permutation:.3f}",
        )
        for feature in meaning.features
    ]
    yield Table.of(
        "feature | tokens | best dimension | r | turned | p turned | p dealt",
        rows,
        "turned: the best axis of the space turned at random, mean; p turned: how often it is as good;\n"
        "p dealt: how often it is as good where the vectors are dealt out to other tokens; both times the features",
    )
    if meaning.features:
        card = meaning.dimensions[meaning.features[0].best_dimension]
        yield Say(f"Dimension {card.number}: most of it have {' '.join(card.top)}; least {' '.join(card.bottom)}.")


def _own(desk: "Desk", counts: dict[str, int]) -> "Generator[Part, None, Sequence[Answered]]":
    """What the student's text answers; nothing where its words are too few to tell."""
    from clearhead.errors import TokenizerError
    from clearhead.inspection.tables import TOO_FEW

    if min(counts[word] for word in (*ROYAL, "queen")) < TOO_FEW:
        return ()
    size: dict[str, Any] = {"n_layer": 1, "n_embd": 32, "block_size": 32, "batch_size": 32}
    run = yield from desk.train("words", **IN_WORDS, **size, max_iters=400)
    try:
        return (yield from ask(desk, run, ROYAL))
    except TokenizerError:  # of a long text the most frequent words may be others
        return ()


def _diminishing(losses: Sequence[float], gains: Sequence[float]) -> Claim:
    each = [gain / (b - a) for gain, (a, b) in zip(gains, pairwise(WIDTHS), strict=True)]
    return Claim(
        "diminishing",
        each[0] > each[-1] > 0,
        f"More dimensions help here, {losses[0]:.3f} to {losses[-1]:.3f} nats, and each helps less: of those between "
        f"{WIDTHS[0]} and {WIDTHS[1]} each is worth {each[0]:.3f} nats, of those between {WIDTHS[-2]} and "
        f"{WIDTHS[-1]} {each[-1]:.4f}, {times(each[0], each[-1])} times less.",
        f"Here the first dimensions added are worth {each[0]:.4f} nats each, the last {each[-1]:.4f}.",
        note="twice the dimensions know twice as much",
    )


def _meaning_verdict(meaning: "Meaning", vectors: "Floats") -> Iterator[Part]:
    special, known, best = _special(meaning), _known(meaning), meaning.features[:1]
    said = "; ".join(f"{f.name} {abs(f.correlation):.2f}, turned {f.rotated:.2f}" for f in meaning.features)
    yield Claim(
        "axes",
        not special and bool(best),
        f"Of {len(meaning.features)} features none goes along with a dimension better than a space turned at random "
        f"does ({said}). A dimension that seems to mean something is the best of {len(meaning.dimensions)}.",
        f"Of {len(meaning.features)} features {len(special)} go along with a dimension better than a space turned at "
        f"random does{': ' * bool(special)}{', '.join(special)}.",
        note=f"dimension {best[0].best_dimension} means {best[0].name}" if best else "",
    )
    yield Claim(
        "space",
        len(known) > len(special),
        "Yet the space knows them: with its vectors dealt out to other tokens, the best dimension goes along less well "
        f"with {len(known)} of {len(meaning.features)} features (p dealt at most 0.05). What is known lies in "
        "directions, and they need not be axes.",
        f"Dealt out to other tokens, the vectors go along as well with all but {len(known)} of "
        f"{len(meaning.features)} features.",
    )
    moved, apart = _turned(vectors)
    yield Claim(
        "turned",
        apart < 1e-9 and moved > 0,
        f"Turned at random, the numbers of the table change by {moved:.0%} of their size, and no cosine of two tokens "
        f"by more than {tiny(apart)}: all neighbours are the same. Names of axes are not what is learned.",
        f"Turned at random, numbers change by {moved:.0%} of their size and cosines by up to {tiny(apart)}.",
    )


def _turned(vectors: "Floats") -> tuple[float, float]:
    """How much a random rotation changes a table's numbers, relatively, and its cosines, at most."""
    import numpy as np

    from clearhead.inspection.tables import similarity

    C = vectors.shape[1]
    rotation, _ = np.linalg.qr(np.random.default_rng(1337).standard_normal((C, C)))
    turned = vectors @ rotation
    before, after = (similarity(table, table, "cosine") for table in (vectors, turned))
    moved = float(np.abs(turned - vectors).mean() / max(1e-12, np.abs(vectors).mean()))
    return moved, float(np.abs(before - after).max())


def _analogy_verdict(royal: "Sequence[Answered]", tense: "Sequence[Answered]") -> Iterator[Part]:
    head, verbs = royal[-1], tense[-1]
    yield Claim(
        "queen",
        head.first == "queen",
        f"In the grammar, where king differs from man as queen from woman and in nothing else, the head answers queen "
        f"with the cosine {cosine_of(head, 'queen')}. The nearest to king alone is {head.near_b}: the cosine is the "
        "evidence, the rank alone is not.",
        f"Here the head answers {head.first} with the cosine {cosine_of(head, head.first)}.",
    )
    past = ("walked", "climbed", "returned", "loved", "wanted", "showed", "purred", "barked")
    yield Claim(
        "walked",
        verbs.first in past,
        f"walked - walk + climb finds the tense, not the verb: the head answers {verbs.first} with "
        f"{cosine_of(verbs, verbs.first)}, and climbed has {cosine_of(verbs, 'climbed')}. The grammar uses walk, climb "
        "and return alike, and what is used alike is at one place.",
        f"Here walked - walk + climb gives {verbs.first} with the cosine {cosine_of(verbs, verbs.first)}.",
        note="the vectors know which verb it is",
    )


def _own_verdict(counts: dict[str, int], own: "Sequence[Answered]") -> Claim:
    from clearhead.inspection.tables import TOO_FEW

    few = [word for word, count in counts.items() if count < TOO_FEW]
    tail = f" {_list(few, counts)}: fewer than {TOO_FEW} times, too few to tell." if few else ""
    if not own:
        rare = f" Not all words are among its {IN_WORDS['vocab_size']:,} most frequent ones."
        said = f"On your text the question cannot be put.{tail or rare}"
        return Claim("your text", True, said, f"On your text nothing was answered.{tail}", note=USUAL)
    asked = _list([*ROYAL, "queen"], counts)
    head = own[-1]
    told = f"king - man + woman gives {head.first} with the cosine {cosine_of(head, head.first)}"
    return Claim(
        "your text",
        head.first != "queen",
        f"On your text ({asked}) {told}; {place_of_queen(head)}.{tail}",
        f"On your text ({asked}) {told}; the nearest to king alone is {head.near_b}.{tail}",
        note=USUAL,
    )


USUAL = "in a space of words king - man + woman is queen"


def _list(words: Sequence[str], counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {counts[word]:,}" for word in words)


LESSON = Lesson(
    number=12,
    slug="dimensions",
    title="Dimensions",
    question="How many dimensions does a token need, and what does each of them mean?",
    teach=teach,
    code=CODE,
    views=("embeddings",),
    needs=5_000,
    because="tokens that are seen a few times have vectors that are mostly chance",
)
