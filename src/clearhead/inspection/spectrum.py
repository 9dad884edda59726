"""How many of its dimensions does a table use, and how much of the bigram lies in the tables alone?

Shapes: V tokens, C dimensions.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from clearhead.data.tokens import TokenDataset
from clearhead.inspection.tables import Floats, Integers
from clearhead.inspection.view import HIDDEN
from clearhead.models.counting import count_levels
from clearhead.models.gpt import GPTLanguageModel

MOST_TOKENS = 2_048
"""The most frequent tokens that the direct path is held against: all pairs are many."""


@dataclass(frozen=True)
class Spectrum:
    """The singular values of a table as it stands."""

    singular_values: Floats
    rank: int
    """Values above the rounding of the largest; never more than tokens or dimensions."""
    participation: float
    """(sum s^2)^2 / sum s^4 of the centred table: as many equal axes would spread as evenly."""
    half: int
    """Principal axes that hold half of the variance."""
    most: int
    """min(V, C)."""
    shape: tuple[int, int]

    def __str__(self) -> str:
        V, C = self.shape
        bound = f"{V} tokens cannot fill {C} dimensions" if V < C else f"{C} dimensions, {V} tokens"
        return (
            f"dimensions: rank {self.rank} of at most {self.most} ({bound}); as if {self.participation:.1f} were used "
            f"evenly (participation ratio), {self.half} hold half of the variance"
        )


def spectrum(vectors: Floats) -> Spectrum:
    """The spectrum of a table (V, C).

    >>> spectrum(np.outer([1.0, 2.0, 3.0], [1.0, 1.0])).rank
    1
    """
    values: Floats = np.linalg.svd(vectors, compute_uv=False)  # pyright: ignore[reportAssignmentType]
    rank = int((values > values[0] * max(vectors.shape) * np.finfo(np.float32).eps).sum()) if values[0] else 0
    variances = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False) ** 2
    total = float(variances.sum())
    participation = total**2 / float((variances**2).sum()) if total else 0.0
    half = int(np.searchsorted(np.cumsum(variances), total / 2)) + 1 if total else 0
    return Spectrum(values, rank, participation, half, len(values), vectors.shape)


@dataclass(frozen=True)
class DirectPath:
    """The logits that a token's embedding gives by itself, no block between, beside the bigram of the text."""

    tokens: int
    """Most frequent ones that were compared."""
    all_tokens: int
    path: str
    """What was multiplied with what."""
    by_row: float
    """Correlation with log p(b | a), each row less its mean: which followers are likely, in general and after a."""
    by_pair: float
    """The same with rows and columns less their means: what is particular to a pair."""
    nats: float
    """Loss of the path alone as a model of the pairs of the training text."""
    unigram: float
    bigram: float
    """Losses of the counts themselves on the same pairs."""
    logits: Floats = field(metadata=HIDDEN)
    """(n, n) rows and columns less their means."""
    counted: Floats = field(metadata=HIDDEN)
    """(n, n) log counts, likewise."""
    ids: Integers = field(metadata=HIDDEN)
    """(n,) the tokens compared, most frequent first."""

    def __str__(self) -> str:
        which = (
            ""
            if self.tokens == self.all_tokens
            else f", the {self.tokens:,} most frequent of {self.all_tokens:,} tokens"
        )
        return (
            f"direct path {self.path}{which}: correlation with the text's log bigram {self.by_row:+.2f} by rows, "
            f"{self.by_pair:+.2f} by pairs (rows and columns centred); alone it would lose {self.nats:.3f} nats, "
            f"counted unigram {self.unigram:.3f}, counted bigram {self.bigram:.3f}"
        )


@torch.no_grad()
def direct_path(gpt: GPTLanguageModel, data: TokenDataset, counts: Integers) -> DirectPath:
    """What the embedding says to the head directly: lm_head(ln_f(E)), held against the pairs of the training text.

    The embedding is scaled as in the model; positions are left out, so for learned ones this is a token at a position
    of zeros. Counts have 1 added to every pair, so that each has a logarithm.
    """
    V, most = gpt.vocab_size, min(gpt.vocab_size, MOST_TOKENS)
    ids = np.argsort(-counts, kind="stable")[:most]
    table = gpt.token_embedding_table.weight[torch.from_numpy(ids).to(gpt.device)]
    x = table * (gpt.config.n_embd**0.5 if gpt.config.scale_embedding else 1.0)
    logits = gpt.lm_head(gpt.ln_f(x))[:, torch.from_numpy(ids).to(gpt.device)].double().cpu().numpy()  # (n, n)
    pairs = _pair_counts(data, V, ids)
    logged = np.log(pairs + 1.0)
    rows = (a - a.mean(1, keepdims=True) for a in (logits, logged))
    both = [_both_centred(a) for a in (logits, logged)]
    norm = {"layernorm": "LayerNorm(E)", "rmsnorm": "RMSNorm(E)", "none": "E"}[gpt.config.norm]
    return DirectPath(
        tokens=most,
        all_tokens=V,
        path=f"{norm} U^T" + (" + bias" if gpt.config.head_bias else ""),
        by_row=_correlation(*rows),
        by_pair=_correlation(*both),
        nats=_loss(logits, pairs),
        unigram=_loss(np.log(np.maximum(pairs.sum(0), 1e-12))[None].repeat(most, 0), pairs),
        bigram=_loss(np.log(np.maximum(pairs, 1e-12)), pairs),
        logits=both[0],
        counted=both[1],
        ids=ids,
    )


def _pair_counts(data: TokenDataset, V: int, ids: Integers) -> Floats:
    """(n, n) how often one of some tokens follows another in the training text."""
    level = count_levels(data.ids("counts"), V, 2, max_bytes=1 << 62)[1]
    place = np.full(V, -1)
    place[ids] = np.arange(len(ids))
    first, second = place[level.keys // V], place[level.keys % V]
    told = (first >= 0) & (second >= 0)
    pairs = np.zeros((len(ids), len(ids)))
    pairs[first[told], second[told]] = level.raw[told]
    return pairs


def _loss(logits: Floats, pairs: Floats) -> float:
    """Mean nats of pairs (n, n), counted, under logits (n, n) of the second given the first."""
    log_sum = np.logaddexp.reduce(logits, axis=1, keepdims=True)
    total = float(pairs.sum())
    return float((pairs * (log_sum - logits)).sum() / total) if total else math.nan


def _both_centred(a: Floats) -> Floats:
    return a - a.mean(1, keepdims=True) - a.mean(0, keepdims=True) + a.mean()


def _correlation(a: Floats, b: Floats) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 1e-12 else 0.0
