"""Lesson 11: embeddings two ways."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Claim, Part, Say, Table
from clearhead.lessons.words import tiny

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.inspection.embeddings import Embeddings, TableFindings
    from clearhead.inspection.tables import Floats
    from clearhead.lessons.desk import Desk
    from clearhead.models.gpt import GPTLanguageModel

SHOWN = 8
"""Tokens of a table: the most frequent."""

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

text = open("input.txt", encoding="utf-8").read()
chars = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(chars)}
idx = torch.tensor([stoi[c] for c in text[:8]])
vocab_size, n_embd = len(chars), 32
token_embedding_table = nn.Embedding(vocab_size, n_embd)
looked_up = token_embedding_table(idx)  # (T, C): row idx[t]
multiplied = F.one_hot(idx, vocab_size).float() @ token_embedding_table.weight  # (T, V) @ (V, C)
assert torch.equal(looked_up, multiplied)
similarity = F.cosine_similarity(looked_up[:1], token_embedding_table.weight)
print("nearest to itself:", chars[similarity.argmax()] == text[0], "| numbers in the table:", vocab_size * n_embd)
"""


def teach(desk: "Desk") -> Iterator[Part]:
    """Neighbours of the shared GPT beside its predictions; what makes two tokens near, here and in a known grammar."""
    yield Say(
        "To the machine an embedding is a row of a table. To us it is a place in a space, where near should mean "
        "alike. Both are the same numbers. But alike in what? We look at a small GPT trained on your text: at the "
        "nearest neighbour of each token, and at what the model predicts after it."
    )
    V = desk.tokenizer.vocab_size
    yield Ask(
        f"For how many of the {V:,} tokens is the nearest other embedding also the token that the model thinks "
        "likeliest to come next?"
    )
    run = yield from desk.gpt()
    found = yield from desk.inspect(run, "embeddings")
    view: Embeddings = found.view
    table = view.tables[0]
    ahead = _predictions(run)
    same = [i for i in range(V) if int(table.neighbours.cosine[i][0]) == ahead[i]]
    yield Answer(len(same), f"For the other {V - len(same):,} they are two different tokens.")
    yield _neighbours(view, table, ahead)
    yield found.picture("space-embedding", "the embedding table in two dimensions")
    yield Say(
        "What brings two tokens near each other? Two answers: that they stand together, or that they stand in the "
        "same places. We correlate the cosine of all pairs of frequent tokens with both, on your text and on "
        "sentences of words whose grammar is known."
    )
    kings = yield from desk.on("grammar").kings()
    here, there = _nearness(run), _nearness(kings)
    rows = [
        (name, found.tokens, f"{found.contexts:+.2f}", f"{found.together:+.2f}")
        for name, found in ((desk.corpus.name, here), ("grammar", there))
    ]
    yield Table.of(
        "text | tokens | with contexts that agree | with standing together", rows, "correlations, over pairs"
    )
    yield from _two_ways(run, view, table)
    yield from _prediction(V, same, run)
    yield _contexts(here, there, *_cats_and_dogs(kings))


def _gpt(run: "Run") -> "GPTLanguageModel":
    from clearhead.inspection.tables import inner_gpt

    gpt = inner_gpt(run.model)
    assert gpt is not None, "the lesson has trained a GPT"
    return gpt


def _predictions(run: "Run") -> list[int]:
    """(V,) the likeliest next token after each token alone."""
    import torch

    with torch.no_grad():
        logits = run.model(torch.arange(run.model.vocab_size)[:, None].to(run.model.device)).logits
    return logits[:, 0].argmax(-1).tolist()


def _neighbours(view: "Embeddings", table: "TableFindings", ahead: list[int]) -> Table:
    rows = []
    for i in view.shown[:SHOWN]:
        near = zip(table.neighbours.cosine[i][:3], table.neighbours.cosines[i][:3], strict=True)
        names = "  ".join(f"{view.tokens[j]} {cosine:.2f}" for j, cosine in near)
        rows.append((view.tokens[i], f"{view.counts[i]:,}", names, view.tokens[ahead[i]]))
    return Table.of("token | count | nearest embeddings, cosine | predicted next", rows)


def _two_ways(run: "Run", view: "Embeddings", table: "TableFindings") -> Iterator[Part]:
    import torch
    from torch.nn import functional as F

    weight = _gpt(run).token_embedding_table.weight.detach()
    V, C = weight.shape
    multiplied = F.one_hot(torch.arange(V, device=weight.device), V).to(weight) @ weight
    apart = float((multiplied - weight).abs().max())
    yield Claim(
        "two ways",
        apart == 0,
        f"Looking up row i and multiplying a one-hot vector of {V:,} numbers with the table give the same {C} "
        f"numbers, for all {V:,} tokens (difference {tiny(apart)}). The table is the first linear layer of the "
        "network.",
        f"Look-up and product differ by {tiny(apart)}.",
        note="a look-up table and an embedding layer are different things",
    )
    if len(table.through) > 1:
        first, last = table.through[0], table.through[-1]
        yield Claim(
            "through training",
            first.same < 1 and first.step < last.step,
            f"The space grows in that same table: at step {first.step:,} {first.same:.0%} of each token's nearest "
            f"neighbours were those of the end, at step {last.step:,} {last.same:.0%}.",
            f"The neighbours of step {first.step:,} were those of the end already.",
        )
    rank = table.spectrum.rank
    yield Claim(
        "dense",
        2 * V * C > V * V and rank <= min(V, C),
        f"Dense does not mean smaller. A one-hot code stores nothing; this table and the head store 2 x {V:,} x {C} = "
        f"{2 * V * C:,} numbers, a whole bigram table {V * V:,}. The table's rank is {rank}: {V:,} tokens in {C} "
        f"dimensions span {min(V, C)} directions at most. What is gained is that tokens can be near each other at "
        "all: two one-hot vectors always have the cosine 0.",
        f"With {V:,} tokens dense is smaller here: this table and the head store 2 x {V:,} x {C} = {2 * V * C:,} "
        f"numbers, a whole bigram table {V * V:,}.",
        note="dense embeddings save memory",
    )


def _prediction(V: int, same: list[int], run: "Run") -> Iterator[Part]:
    """What predicts is the hidden state times the head's rows."""
    import torch

    model = _gpt(run)
    with torch.no_grad():
        idx = torch.arange(V, device=model.device)[:, None]  # (B, T): every token alone
        x = model.embed(idx)
        for block in model.blocks:
            x = block(x)
        apart = float((model.ln_f(x) @ model.lm_head.weight.T - model(idx).logits).abs().max())
    yield Claim(
        "prediction",
        len(same) < V / 2 and apart < 1e-3,
        f"The nearest embedding is the prediction for {len(same)} of {V:,} tokens. What predicts is the hidden state "
        f"after all blocks, times the rows of the head: that gives the model's logits, to {tiny(apart)}.",
        f"For {len(same)} of {V:,} tokens the nearest embedding is the prediction; hidden state times head gives the "
        f"logits to {tiny(apart)}.",
        note="the nearest embedding is the prediction",
    )


@dataclass(frozen=True)
class _Nearness:
    """What goes along with the cosine of two embeddings, over all pairs of tokens that are frequent enough."""

    tokens: int
    contexts: float
    """Correlation with how much their contexts agree."""
    together: float
    """Correlation with how often they stand side by side, beside chance."""


def _contexts(here: _Nearness, there: _Nearness, near: float, beside: int) -> Claim:
    """What goes along with nearness; cats and dogs of the grammar have the cosine `near`, and met `beside` times."""
    return Claim(
        "contexts",
        here.contexts > here.together and there.contexts > there.together,
        f"Near are tokens whose contexts agree: the correlation is {here.contexts:+.2f} on your text and "
        f"{there.contexts:+.2f} in the grammar, with standing together {here.together:+.2f} and "
        f"{there.together:+.2f}. cats and dogs stood side by side {beside} times, and have the cosine {near:.2f}: "
        "they meet because they are used alike.",
        f"Correlations with agreeing contexts are {here.contexts:+.2f} and {there.contexts:+.2f}, with standing "
        f"together {here.together:+.2f} and {there.together:+.2f}: on this text the contexts do not explain more.",
        note="love and dogs meet in the space because they stand together",
    )


def _nearness(run: "Run") -> _Nearness:
    import numpy as np

    from clearhead.inspection.tables import TOO_FEW, similarity, tables_of, token_counts

    counts = token_counts(run.data, run.tokenizer.vocab_size)
    usual = np.flatnonzero(counts >= TOO_FEW)
    N = _pair_counts(run)[np.ix_(usual, usual)]
    vectors = tables_of(run.model)[0].vectors[usual]
    after, before = (_shares(counts_of) for counts_of in (N, N.T))
    agree = similarity(np.sqrt(np.hstack([after, before])), np.sqrt(np.hstack([after, before])), "cosine")
    expected = np.outer(N.sum(1), N.sum(0)) / N.sum()
    together = np.log((N + N.T + 1) / (expected + expected.T + 1))
    pairs = np.triu_indices(len(usual), 1)
    near = similarity(vectors, vectors, "cosine")[pairs]
    contexts, beside = (float(np.corrcoef(near, other[pairs])[0, 1]) for other in (agree, together))
    return _Nearness(len(usual), contexts, beside)


def _pair_counts(run: "Run") -> "Floats":
    """(V, V) how often each token is followed by each in the training text."""
    import numpy as np

    from clearhead.evaluation.certificate import sampled_pairs

    V = run.tokenizer.vocab_size
    pairs = sampled_pairs(run.data.ids("counts"), 1, V)
    table = np.zeros((V, V))
    table[pairs.current, pairs.following] = pairs.counts
    return table


def _shares(table: "Floats") -> "Floats":
    return table / table.sum(1, keepdims=True).clip(min=1)


def _cats_and_dogs(run: "Run") -> tuple[float, int]:
    """The cosine of their embeddings, and how often they stand side by side."""
    from clearhead.inspection.tables import find_token, similarity, tables_of, token_counts

    counts = token_counts(run.data, run.tokenizer.vocab_size)
    cats, dogs = (find_token(word, run.tokenizer, counts) for word in ("cats", "dogs"))
    vectors, table = tables_of(run.model)[0].vectors, _pair_counts(run)
    near = float(similarity(vectors[[cats]], vectors[[dogs]], "cosine")[0, 0])
    return near, int(table[cats, dogs] + table[dogs, cats])


LESSON = Lesson(
    number=11,
    slug="embeddings",
    title="Embeddings two ways",
    question="Is an embedding a look-up table, or a space of meaning?",
    teach=teach,
    code=CODE,
    views=("embeddings",),
    needs=5_000,
    because="tokens that are seen a few times have vectors that are mostly chance",
)
