"""How far a table of next tokens is from the best there is: exactly, and why.

The loss of a bigram is convex in its logits, and what it lies above the least possible has a closed form (Gibbs'
inequality; Cover & Thomas 2006, "Elements of Information Theory", 2.6):

    CE(W) - H(next | current) = sum over x of p(x) KL(p(. | x) || q(. | x)) >= 0,    q = softmax of row x

with p the shares of pairs as the sampler draws them: a position near an edge of the text lies in fewer windows, and
counts for less. In each row it splits exactly. With s the belief q in all successors that were ever seen,

    KL(p || q) = -log s + KL(p || q / s) = leak + misfit

The leak is what belief in unseen successors costs: it nears 0 as their logits fall, and is never there. A gradient in
row x is p(x) (q - p), so rare rows lag behind; a row that is never current keeps the values it began with.

Shapes: n ids, T block_size, V vocabulary, m distinct pairs. All in float64.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearhead.models.counting import count_levels
from clearhead.models.windows import Ids

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

THRESHOLD = 1e-3
"""Bits per token above the floor below which a table has stabilised: a thousandth is less than seeds differ by."""
RARE = 0.1
"""A context is rare below this part of an even share, 1 / V."""
_CELLS = 1 << 24
"""Logits normalised at once."""
_ROUNDING = 1e-9
"""Nats by which the parts of a loss may miss it, per nat of it."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of a token and the next in a text."""

    vocab_size: int
    keys: Integers
    """(m,) ascending: the current token times V, plus the next."""
    counts: Integers
    """(m,) how often each stands in the text."""
    weights: Floats
    """(m,) the share of all targets that each is; they sum to 1."""

    @cached_property
    def current(self) -> Integers:
        """(m,) the first token of each pair."""
        return self.keys // self.vocab_size

    @cached_property
    def following(self) -> Integers:
        """(m,) the second token of each pair."""
        return self.keys % self.vocab_size

    @cached_property
    def seen(self) -> Integers:
        """(V,) how often each token is current."""
        return np.bincount(self.current, self.counts, self.vocab_size).astype(np.int64)

    @cached_property
    def shares(self) -> Floats:
        """(V,) p(x), the share of targets that each token is current for."""
        return np.bincount(self.current, self.weights, self.vocab_size).astype(np.float64)

    @cached_property
    def conditional(self) -> Floats:
        """(m,) p(y | x)."""
        return self.weights / self.shares[self.current]

    def count(self, current: int, following: int) -> int:
        """How often one pair stands in the text."""
        at = int(np.searchsorted(self.keys, key := current * self.vocab_size + following))
        return int(self.counts[at]) if at < len(self.keys) and self.keys[at] == key else 0


def sampled_pairs(ids: Ids, block_size: int, vocab_size: int) -> Pairs:
    """The pairs of ids (n,), n at least 2, as windows of block_size draw them that begin anywhere with equal chance.

    Pair i, of ids i and i + 1, lies in min(i + 1, T, n - T, n - 1 - i) of the n - T windows. With block_size 1 all
    pairs weigh alike.

    >>> sampled_pairs(np.array([0, 1, 1, 0, 0]), 2, 2).weights * 6  # windows 011, 110, 100: their pairs
    array([1., 1., 2., 2.])
    """
    n = len(ids)
    T = min(block_size, n - 1)
    most = min(T, n - T)
    level = count_levels(ids, vocab_size, 2, max_bytes=sys.maxsize)[1]
    weights = level.raw.astype(np.float64) * most
    edges = np.concatenate([np.arange(most - 1), np.arange(n - most, n - 1)])
    keys = ids[edges].astype(np.int64) * vocab_size + ids[edges + 1]
    np.subtract.at(weights, np.searchsorted(level.keys, keys), most - np.minimum(edges + 1, n - 1 - edges))
    assert weights.sum() == T * (n - T), "each of the n - T windows has T pairs"
    return Pairs(vocab_size, level.keys, level.raw.astype(np.int64), weights / (T * (n - T)))


def mixed_pairs(parts: Sequence[tuple[float, Pairs]]) -> Pairs:
    """The pairs of a sampler that draws from several texts, each with a share of the targets; the shares sum to 1."""
    keys, places = np.unique(np.concatenate([pairs.keys for _, pairs in parts]), return_inverse=True)
    counts, weights = np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys))
    np.add.at(counts, places, np.concatenate([pairs.counts for _, pairs in parts]))
    np.add.at(weights, places, np.concatenate([share * pairs.weights for share, pairs in parts]))
    return Pairs(parts[0][1].vocab_size, keys, counts, weights)


@dataclass(frozen=True, eq=False)
class Certificate:
    """A table beside the best there is for its pairs; nats per token, unless it says bits."""

    loss: float
    """Cross-entropy over all targets as the sampler draws them, no estimate."""
    floor: float
    """H(next | current): the least that any table can lose; that of unseen pairs is at infinity."""
    shares: Floats
    """(V,) p(x)."""
    leaks: Floats
    """(V,) what each row adds to the leak."""
    misfits: Floats
    """(V,) what each row adds to the misfit."""
    leaked: Floats
    """(V,) the belief of each row in successors that were never seen; NaN in a row that is never current."""
    difference: float
    """Mean of |softmax - share| over all cells of rows that are current at all."""

    @property
    def leak(self) -> float:
        """What belief in unseen successors costs."""
        return float(self.leaks.sum())

    @property
    def misfit(self) -> float:
        """What a wrong division among seen successors costs."""
        return float(self.misfits.sum())

    @property
    def gaps(self) -> Floats:
        """(V,) what each row adds to the gap."""
        return self.leaks + self.misfits

    @property
    def gap(self) -> float:
        """What the loss lies above the floor."""
        return self.leak + self.misfit

    @property
    def error(self) -> float:
        """What floor and gap together miss the loss by."""
        return abs(self.floor + self.gap - self.loss)

    @property
    def divergences(self) -> Floats:
        """(V,) KL of each row by itself; NaN in a row that is never current."""
        return np.divide(self.gaps, self.shares, out=np.full(len(self.shares), np.nan), where=self.shares > 0)

    def stabilised(self, threshold: float = THRESHOLD) -> bool:
        """Whether the gap is below a threshold in bits per token."""
        return self.gap / math.log(2) < threshold


def certify(table: Tensor, pairs: Pairs) -> Certificate:
    """Hold logits (V, V), or log-probabilities, against the pairs of a text. What is summed is checked."""
    present, starts = np.unique(pairs.current, return_index=True)
    log_q = log_probabilities(table, pairs)
    log_p, p = np.log(pairs.conditional), pairs.conditional
    log_seen = np.minimum(np.logaddexp.reduceat(log_q, starts), 0.0)  # rounding may leave more than all
    inside = np.repeat(log_seen, np.diff([*starts, len(pairs.keys)]))
    rows = pairs.shares[present]
    leaked = -np.expm1(log_seen)
    far = np.add.reduceat(np.abs(np.exp(log_q) - p), starts) + leaked
    found = Certificate(
        loss=-float(pairs.weights @ log_q),
        floor=-float(pairs.weights @ log_p),
        shares=pairs.shares,
        leaks=_spread(-log_seen * rows, present, pairs.vocab_size, 0.0),
        misfits=_spread(np.add.reduceat(p * (log_p - log_q + inside), starts) * rows, present, pairs.vocab_size, 0.0),
        leaked=_spread(leaked, present, pairs.vocab_size, np.nan),
        difference=float(far.sum()) / (len(present) * pairs.vocab_size),
    )
    assert found.error <= _ROUNDING * max(1.0, found.loss), f"floor and gap miss the loss by {found.error:.2g} nats"
    return found


def log_probabilities(table: Tensor, pairs: Pairs) -> Floats:
    """Log-softmax (m,) of the table's rows at the pairs."""
    table = table.detach().cpu()
    step = max(1, _CELLS // pairs.vocab_size)
    totals = torch.cat([block.double().logsumexp(-1) for block in table.split(step)]).numpy()
    logits = table.contiguous().view(-1)[torch.from_numpy(pairs.keys)].double().numpy()
    return logits - totals[pairs.current]


def _spread(values: Floats, at: Integers, size: int, rest: float) -> Floats:
    """(size,) with values at some places, and the rest elsewhere."""
    spread = np.full(size, rest)
    spread[at] = values
    return spread


def reason(certificate: Certificate, row: int, weight_decay: float = 0.0) -> str:
    """Why a row of a trained table is not where it should be."""
    if not certificate.shares[row]:
        return "never current: keeps what it began with"
    why = []
    if certificate.shares[row] * len(certificate.shares) < RARE:
        why.append("rare context, small gradients")
    if weight_decay:
        why.append(f"weight decay {weight_decay:g} holds it back for good")
    leaks = certificate.leaks[row] >= certificate.misfits[row]
    why.append("unseen successors not yet given up" if leaks else "seen successors not yet in proportion")
    return "; ".join(why)
