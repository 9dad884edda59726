"""The mathematical trick of self-attention on one's own text: four ways to the same average of the past.

Shapes: T tokens, C numbers each, k tokens that are shown.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.table import aligned
from clearhead.inspection.passage import Passage, find_passage
from clearhead.inspection.tables import inner_gpt
from clearhead.inspection.trace import agreement
from clearhead.inspection.view import HIDDEN, View
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer

Floats = npt.NDArray[np.float64]

SHOWN = 8
"""Tokens that are shown, as in the lecture."""
NUMBERS = 4
"""Numbers of a vector that are printed."""
LONGEST = 1_024
"""Tokens that are averaged, at most: the weights are a square of them."""


@dataclass(frozen=True)
class Way:
    """One way to the averages."""

    name: str
    code: str
    """In the lecture's words."""
    difference: float
    """The largest absolute difference from the loop, over all T x C numbers."""


@dataclass(frozen=True)
class Trick(View):
    """The average of each token's past, computed in four ways."""

    run: str
    kind: str
    vectors: str
    """What a token brings, in words."""
    notes: tuple[str, ...]
    tokens: tuple[str, ...]
    """(T,)"""
    channels: tuple[str, ...]
    """Names of the numbers that are printed."""
    ways: tuple[Way, ...]
    scores: Floats
    """(k, k): q @ k^T / sqrt(C) with equal keys, -inf in the future: within a row all the same."""
    weights: Floats
    """(k, k): softmax of that."""
    x: Floats
    """(k, c): what the first tokens bring, the numbers that are printed."""
    averages: Floats
    """(k, c): their past on average, themselves included."""
    every: Floats = field(metadata=HIDDEN)
    """(T, C): all averages."""

    @property
    def title(self) -> str:
        """The question, and of whom it is asked."""
        return f"trick: averaging the past in four ways ({self.run}, {self.kind})"

    def __str__(self) -> str:
        k = len(self.x)
        ways = [("way", "differs from the loop", ""), *((w.name, f"{w.difference:.1e}", w.code) for w in self.ways)]
        return "\n".join(
            [
                *self.notes,
                f"x: {len(self.tokens)} tokens, {self.every.shape[1]} numbers each: {self.vectors}",
                "",
                *aligned(ways),
                "",
                f"wei, the weights of the first {k} tokens: row t looks at columns 0 .. t, each 1 / (t + 1)",
                *aligned(self._weights()),
                "",
                f"x and the average of its past (the numbers {', '.join(self.channels)})",
                *aligned(self._vectors()),
                "with keys of its own a head makes some of the past weigh more than the rest: that is all it adds",
            ]
        )

    def _weights(self) -> list[tuple[str, ...]]:
        k = len(self.x)
        rows = [("", *self.tokens[:k], "")]
        for t in range(k):
            cells = (f"{w:.3f}" if s <= t else "." for s, w in enumerate(self.weights[t]))
            rows.append((f"{t} {self.tokens[t]}", *cells, ""))
        return rows

    def _vectors(self) -> list[tuple[str, ...]]:
        rows = []
        for t in range(len(self.x)):
            brought, mean = ([f"{value:+.3f}" for value in values[t]] for values in (self.x, self.averages))
            rows.append((f"{t} {self.tokens[t]}", *brought, "->", *mean, ""))
        return rows


def trick(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    *,
    data: TokenDataset | None = None,
    run: str = "",
) -> Trick:
    """Average the past of each token of a text (by default the beginning of the run's own) in four ways, in float64.

    Vectors are the token embeddings of a GPT; a bigram and an n-gram have none, there each token is one-hot, and the
    average of the past is the share of each token so far. DisagreementError when the ways do not meet.
    """
    passage = find_passage(text, model, tokenizer, data)
    idx, notes = passage.idx[0], passage.notes
    if len(idx) > LONGEST:
        idx, notes = idx[-LONGEST:], (*notes, f"the text has {len(idx):,} tokens: these are the last {LONGEST:,}")
    x, vectors, channels = _vectors(model, idx, passage)
    ways, scores, wei, averages = _four_ways(x)
    k = min(SHOWN, len(idx))
    columns = [c for c, _ in channels]
    return Trick(
        run=run,
        kind=model.kind,
        vectors=vectors,
        notes=notes,
        tokens=passage.tokens[-len(idx) :],
        channels=tuple(name for _, name in channels),
        ways=ways,
        scores=scores[:k, :k].numpy(),
        weights=wei[:k, :k].numpy(),
        x=x[:k, columns].numpy(),
        averages=averages[:k, columns].numpy(),
        every=averages.numpy(),
    )


def _vectors(model: LanguageModel, idx: Tensor, passage: Passage) -> tuple[Tensor, str, list[tuple[int, str]]]:
    """x (T, C) of ids (T,), what it is, and the columns that are printed with their names."""
    gpt = inner_gpt(model)
    if gpt is not None:
        x = gpt.token_embedding_table.weight.detach().cpu().double()[idx]
        return x, f"the token embeddings of the {model.kind}", [(c, str(c)) for c in range(min(NUMBERS, x.shape[1]))]
    first = list(dict.fromkeys(idx.tolist()))[:NUMBERS]
    x = F.one_hot(idx, model.vocab_size).double()
    return x, f"one-hot, for the {model.kind} has no embeddings", [(i, passage.names[i]) for i in first]


def _four_ways(x: Tensor) -> tuple[tuple[Way, ...], Tensor, Tensor, Tensor]:
    """The ways beside the loop; scores and weights (T, T) of the last, and the averages (T, C) of the loop."""
    T, C = x.shape
    tril = torch.ones(T, T, dtype=torch.double).tril()
    loop = torch.stack([x[: t + 1].mean(0) for t in range(T)])
    by_matrix = (tril / tril.sum(1, keepdim=True)) @ x
    by_softmax = torch.zeros_like(tril).masked_fill(tril == 0, float("-inf")).softmax(-1) @ x
    q, k = x, x.mean(0).expand(T, C)  # whatever is asked, every key answers alike
    scores = (q @ k.T * C**-0.5).masked_fill(tril == 0, float("-inf"))
    wei = scores.softmax(-1)
    found = [
        ("loop", "xbow[t] = x[:t+1].mean(0)", loop),
        ("triangular matrix", "wei = tril / tril.sum(1, keepdim=True); wei @ x", by_matrix),
        ("softmax of a mask", "wei = zeros.masked_fill(tril == 0, -inf).softmax(-1); wei @ x", by_softmax),
        (
            "attention, equal keys",
            "wei = (q @ k.T * C**-0.5).masked_fill(tril == 0, -inf).softmax(-1); wei @ v",
            wei @ x,
        ),
    ]
    ways = tuple(Way(name, code, agreement(xbow, loop, name)) for name, code, xbow in found)
    return ways, scores, wei, loop
