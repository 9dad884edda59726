"""Rates and decay."""

import math

import pytest
import torch
from torch import nn

from clearhead.config import TrainConfig
from clearhead.optim.adamw import build_adamw
from clearhead.optim.schedules import learning_rate


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
