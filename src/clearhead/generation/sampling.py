"""From the last logits to the next token: pure functions over (B, V), B rows and V vocabulary."""

import math

import numpy as np
import torch
from torch import Tensor

from clearhead.config import check_sampling
from clearhead.errors import ConfigError
from clearhead.runtime import stream_seed


def probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """The distribution (B, V) float64 that is drawn from; ConfigError for impossible values.

    Temperature first, then the top k, then the nucleus (Holtzman et al. 2020) of what is left, then of that what is
    at least min_p as likely as the likeliest (Nguyen et al. 2024). Temperature 0 is all on the likeliest token. A
    logit of -inf is never drawn.

    >>> probabilities(torch.tensor([[2.0, 1.0, 0.0]]), temperature=0).tolist()
    [[1.0, 0.0, 0.0]]
    """
    check_sampling(temperature, top_k, top_p, min_p)
    logits = logits.double()
    best = logits.max(dim=-1, keepdim=True)
    if temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, best.indices, 1.0)
    # The maximum goes first: however small the temperature, nothing overflows.
    logits = (logits - best.values) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        kept = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, float("-inf")).scatter_(-1, kept.indices, kept.values)
    probs = logits.softmax(dim=-1)
    if top_p is not None:
        probs = nucleus(probs, top_p)
    return probs if min_p is None else at_least(probs, min_p)


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """The fewest likeliest tokens that together hold at least top_p, and nothing else: (B, V) -> (B, V).

    >>> nucleus(torch.tensor([[0.5, 0.25, 0.25]]), 0.5).tolist()
    [[1.0, 0.0, 0.0]]
    """
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered  # what the likelier ones hold
    kept = ordered.masked_fill(before >= top_p, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(probs).scatter_(-1, order, kept)


def at_least(probs: Tensor, min_p: float) -> Tensor:
    """What is at least min_p times as likely as the likeliest, and nothing else: (B, V) -> (B, V).

    >>> at_least(torch.tensor([[0.5, 0.375, 0.125]]), 0.5).tolist()
    [[0.5714285969734192, 0.4285714328289032, 0.0]]
    """
    kept = probs.masked_fill(probs < min_p * probs.amax(dim=-1, keepdim=True), 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits (..., V) with those of `seen` (..., V) bool made smaller: divided by the penalty, or where negative
    multiplied (Keskar et al. 2019, section 4.1). A penalty below 1 makes them larger.

    >>> penalise(torch.tensor([2.0, -2.0, 2.0]), torch.tensor([True, True, False]), 2.0).tolist()
    [1.0, -4.0, 2.0]
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def draw(probs: Tensor, u: Tensor) -> Tensor:
    """The token at which the cumulative probability passes u: probs (B, V), u (B,) in [0, 1) -> (B,) int64.

    A token without probability is never drawn. ConfigError when a row is no distribution (weights that diverged).

    >>> draw(torch.tensor([[0.5, 0.0, 0.5]]).expand(3, 3), torch.tensor([0.0, 0.49, 0.5])).tolist()
    [0, 0, 2]
    """
    cumulative = probs.double().cumsum(dim=-1)
    total = cumulative[:, -1:]
    if not all(0 < each < math.inf for each in total.flatten().tolist()):
        raise _not_finite()
    threshold = u.double()[:, None] * total
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)


def likeliest(logits: Tensor) -> Tensor:
    """What temperature 0 draws from logits (B, V), whatever the random number: (B,) int64; ConfigError as `draw`."""
    best = logits.max(dim=-1)
    if not all(map(math.isfinite, best.values.tolist())):
        raise _not_finite()
    return best.indices


def _not_finite() -> ConfigError:
    return ConfigError("the model's logits are not finite, no token can be drawn; use an earlier checkpoint")


def chances(seed: int, row: int) -> np.random.Generator:
    """The numbers in [0, 1) that a row is drawn with, one a step: a pure function of (seed, row).

    Philox (Salmon et al. 2011) counts: every row has its own stretch of the seed's stream.

    >>> chances(1, 5).random() == chances(1, 5).random() != chances(1, 6).random()
    True
    """
    return np.random.Generator(np.random.Philox(key=stream_seed(seed, "generate"), counter=[0, 0, row, 0]))
