import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clearhead.config import TrainConfig
from clearhead.data.batches import gather
from clearhead.evaluation.certificate import Pairs, certify, mixed_pairs, reason, sampled_pairs
from clearhead.models.bigram import UNSEEN, BigramLanguageModel
from clearhead.optim.adamw import build_adamw

texts = st.integers(1, 5).flatmap(
    lambda V: st.tuples(st.just(V), st.lists(st.integers(0, V - 1), min_size=2, max_size=40))
)


def all_windows(ids, block_size):
    """x, y of every window that the sampler may draw, as it draws them."""
    return gather(ids, np.arange(len(ids) - block_size), block_size)


def by_enumeration(ids, block_size, V):
    """(V, V) counts of pairs over all windows."""
    x, y = all_windows(ids, block_size)
    return torch.bincount((x * V + y).flatten(), minlength=V * V).view(V, V).double()


def pairs_of(counts):
    """Pairs whose weights are a table of counts (V, V)."""
    counts = np.asarray(counts)
    keys = np.flatnonzero(counts)
    found = counts.reshape(-1)[keys]
    return Pairs(len(counts), keys, found.astype(np.int64), found / found.sum())


def optimum(pairs):
    """The table (V, V) whose softmax is p(y | x); pairs never seen get a finite floor, rows never seen zeros."""
    table = torch.full((pairs.vocab_size, pairs.vocab_size), UNSEEN, dtype=torch.double)
    table[torch.from_numpy(pairs.seen == 0)] = 0.0
    table.view(-1)[torch.from_numpy(pairs.keys)] = torch.from_numpy(np.log(pairs.conditional))
    return table


@settings(deadline=None, max_examples=150)
@given(texts, st.integers(1, 45))
def test_weights_are_those_of_every_window(text, block_size):
    V, ids = text[0], np.array(text[1])
    T = min(block_size, len(ids) - 1)
    pairs = sampled_pairs(ids, block_size, V)
    expected = by_enumeration(ids, T, V)
    weights = np.zeros(V * V)
    weights[pairs.keys] = pairs.weights
    np.testing.assert_allclose(weights * T * (len(ids) - T), expected.flatten(), atol=1e-9)
    assert pairs.counts.sum() == pairs.seen.sum() == len(ids) - 1


@settings(deadline=None, max_examples=60)
@given(texts, st.integers(1, 12), st.integers(0, 99), st.floats(0.01, 9))
def test_the_loss_is_that_over_all_windows_and_its_parts_add_up(text, block_size, seed, width):
    V, ids = text[0], np.array(text[1])
    table = width * torch.randn(V, V, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    x, y = all_windows(ids, min(block_size, len(ids) - 1))
    found = certify(table, sampled_pairs(ids, block_size, V))
    assert found.loss == pytest.approx(float(F.cross_entropy(table[x.flatten()], y.flatten())), abs=1e-12)
    assert found.gap == pytest.approx(found.loss - found.floor, abs=1e-12)
    assert found.error < 1e-12
    assert (found.leaks >= 0).all()
    assert (found.misfits > -1e-12).all()


def test_a_table_by_hand():
    """Row 0: seen 3 to 1, believed 1/2, 1/4, and 1/4 for what never came. Row 1: as it is. Row 2: never current."""
    pairs = pairs_of([[3, 1, 0], [0, 0, 4], [0, 0, 0]])
    q = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]], dtype=torch.double)
    found = certify(q.log() + torch.tensor([[7.0], [-3.0], [0.0]]), pairs)  # a row is free up to a constant
    leak = -0.5 * math.log(0.75)
    misfit = 0.5 * (0.75 * math.log(0.75 / (2 / 3)) + 0.25 * math.log(0.25 / (1 / 3)))
    np.testing.assert_allclose(found.leaks, [leak, 0, 0], atol=1e-15)
    np.testing.assert_allclose(found.misfits, [misfit, 0, 0], atol=1e-15)
    np.testing.assert_allclose(found.leaked, [0.25, 0, np.nan], atol=1e-15)
    np.testing.assert_allclose(found.divergences, [2 * (leak + misfit), 0, np.nan], atol=1e-15)
    assert found.floor == pytest.approx(0.5 * (0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert found.difference == pytest.approx((0.25 + 0 + 0.25) / 6)
    assert reason(found, 2).startswith("never current")


@pytest.mark.parametrize("block_size", [1, 8, 64])
def test_the_table_of_the_samplers_weights_has_no_gap(block_size):
    ids = np.random.default_rng(0).integers(0, 7, 90) ** 2 % 11
    pairs = sampled_pairs(ids, block_size, 12)
    found = certify(optimum(pairs), pairs)
    assert abs(found.gap) < 1e-6
    assert found.stabilised()
    assert np.isnan(found.divergences).any(), "some token is never current"
    if block_size > 1:  # plain counts are not what the sampler draws
        counted = BigramLanguageModel.from_counts(ids, 12, laplace=0).token_embedding_table.weight
        assert certify(counted, pairs).gap > 1e-4


def test_unseen_pairs_are_approached_and_never_reached():
    pairs = pairs_of([[5, 0], [2, 2]])
    gaps = [certify(torch.tensor([[0.0, low], [0.0, 0.0]]), pairs).gap for low in (-1.0, -5.0, -10.0, -20.0)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] > 0
    assert gaps[0] == pytest.approx(5 / 9 * math.log1p(math.exp(-1)))


def test_a_markov_source():
    """Against a source whose entropy rate is known, a table loses that much and its divergence from it."""
    P = np.array([[0.5, 0.5, 0.0], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
    Q = np.array([[0.4, 0.4, 0.2], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
    at = np.linalg.matrix_power(P, 200)[0]
    joint = at[:, None] * P
    keys = np.flatnonzero(joint)
    source = Pairs(3, keys, np.ones(len(keys), dtype=np.int64), joint.reshape(-1)[keys])
    found = certify(torch.from_numpy(np.log(Q)), source)
    rate = -sum(joint[i, j] * math.log(P[i, j]) for i in range(3) for j in range(3) if P[i, j])
    cross = -sum(joint[i, j] * math.log(Q[i, j]) for i in range(3) for j in range(3) if P[i, j])
    assert found.floor == pytest.approx(rate, abs=1e-12)
    assert found.gap == pytest.approx(cross - rate, abs=1e-12)
    rng, ids = np.random.default_rng(1), [0]
    for u in rng.random(200_000):
        ids.append(int(np.searchsorted(P[ids[-1]].cumsum(), u, side="right")))
    sample = certify(torch.from_numpy(np.log(Q)), sampled_pairs(np.array(ids), 16, 3))
    assert sample.floor == pytest.approx(rate, abs=0.01)
    assert sample.gap == pytest.approx(cross - rate, abs=0.01)


def test_two_texts_in_one_sampler():
    a, b = np.array([0, 1, 0, 2, 0]), np.array([0, 1, 1, 2])
    mixed = mixed_pairs([(0.75, sampled_pairs(a, 2, 3)), (0.25, sampled_pairs(b, 2, 3))])
    expected = 0.75 * by_enumeration(a, 2, 3) / 6 + 0.25 * by_enumeration(b, 2, 3) / 4
    weights = np.zeros(9)
    weights[mixed.keys] = mixed.weights
    np.testing.assert_allclose(weights, expected.flatten(), atol=1e-15)
    assert mixed.count(0, 1) == 2
    assert mixed.count(2, 2) == 0


def trained(ids, V, rate, steps=300, decay=0.0) -> Any:
    """Tables a step apart at the end of a training with AdamW, and the pairs that it draws."""
    torch.manual_seed(0)
    model = BigramLanguageModel(V)
    optimizer = build_adamw(model, TrainConfig(learning_rate=rate, weight_decay=decay))
    rng, before = np.random.default_rng(0), None
    for _ in range(steps):
        before = model.token_embedding_table.weight.detach().clone()
        x, y = gather(ids, rng.integers(0, len(ids) - 16, 32), 16)
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, model.token_embedding_table.weight.detach(), sampled_pairs(ids, 16, V)


def test_a_slower_rate_is_stiller_and_further_away(poem):
    characters = np.frombuffer(poem.read_bytes(), dtype=np.uint8)
    ids = np.unique(characters, return_inverse=True)[1]
    V = int(ids.max()) + 1
    found = {}
    for rate in (0.1, 0.001):
        before, after, pairs = trained(ids, V, rate)
        moved = float((after.softmax(-1) - before.softmax(-1)).abs().sum(-1).mean())
        found[rate] = moved, certify(after, pairs).gap
    assert found[0.001][0] < found[0.1][0] / 3, "the slower table moves less"
    assert found[0.001][1] > 10 * found[0.1][1], "and is further from the optimum"


def test_weight_decay_holds_back_for_good(poem):
    ids = np.unique(np.frombuffer(poem.read_bytes(), dtype=np.uint8), return_inverse=True)[1]
    V = int(ids.max()) + 1
    gaps = {}
    for decay in (0.0, 1.0):
        _, table, pairs = trained(ids, V, 0.1, 400, decay)
        gaps[decay] = certify(table, pairs)
    assert gaps[1.0].gap > 5 * gaps[0.0].gap
    row = int(np.nanargmax(gaps[1.0].gaps))
    assert "weight decay 1 holds it back" in reason(gaps[1.0], row, 1.0)
    assert "weight decay" not in reason(gaps[0.0], row)


def test_rare_rows_are_named():
    counts = np.diag([1000] * 9 + [1]).astype(int)
    assert "rare context" in reason(certify(torch.zeros(10, 10), pairs_of(counts)), 9)
    assert "unseen successors" in reason(certify(torch.zeros(10, 10), pairs_of(counts)), 9)
