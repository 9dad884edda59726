"""Rates and decay."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from clearhead.config import TrainConfig
from clearhead.optim.adamw import build_adamw
from clearhead.optim.schedules import learning_rate, schedule


def test_the_rate_warms_up_and_decays_along_a_cosine():
    config = TrainConfig(learning_rate=1e-3, min_lr=1e-4, warmup_iters=10, max_iters=110)
    rates = [learning_rate(step, config) for step in range(110)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(60, config) == pytest.approx(1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * 50 / 99)))


def test_a_warm_up_longer_than_the_run_is_cut():
    config = TrainConfig(warmup_iters=100, max_iters=20)
    assert learning_rate(1, config) == pytest.approx(config.learning_rate)
    assert learning_rate(0, TrainConfig(warmup_iters=100, max_iters=1)) == TrainConfig().learning_rate


def test_the_rate_falls_along_a_line():
    config = TrainConfig(learning_rate=1e-3, min_lr=1e-4, warmup_iters=10, max_iters=111, decay="linear")
    rates = [learning_rate(step, config) for step in range(111)]
    falls = [a - b for a, b in pairwise(rates[10:])]
    assert rates[10] == pytest.approx(1e-3)
    assert falls == pytest.approx([9e-6] * 100)
    assert rates[110] == rates[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("decay", ["cosine", "linear"])
@pytest.mark.parametrize("min_lr", [0.0, 1e-4, 1e-3, 1.0])
def test_the_schedule_is_a_share(decay, min_lr):
    config = TrainConfig(learning_rate=1e-3, min_lr=min_lr, warmup_iters=5, max_iters=30, decay=decay)
    shares = [schedule(step, config) for step in range(40)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares[29] == shares[39] == pytest.approx(min(1.0, min_lr / 1e-3))
    assert [learning_rate(step, config) for step in range(40)] == [share * 1e-3 for share in shares]


def test_no_rate_at_all_is_no_division():
    assert learning_rate(5, TrainConfig(learning_rate=0.0)) == 0.0


def test_only_matrices_decay():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    optimizer = build_adamw(model, TrainConfig(weight_decay=0.5, learning_rate=0.1))
    before = {name: p.clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(model.named_parameters())
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[name], before[name])
