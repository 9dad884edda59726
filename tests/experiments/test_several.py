"""The best of several settings: what is claimed must be there, and rarely is what is not."""

import numpy as np
import pytest

from clearhead.evaluation import bootstrap
from clearhead.evaluation.several import best_against_each

BLOCKS, CHARACTERS = 50, 2_000.0
FALSE_ALARMS = 0.05


def drawn(rng: np.random.Generator, shifts: list[float], seeds: int = 3, spread: float = 0.01) -> list[np.ndarray]:
    """Bits (R, n) of settings that differ by `shifts` bits per character: a text they share, their own noise, seeds."""
    text = rng.normal(3.0, 0.3, BLOCKS)
    return [
        CHARACTERS * (text + shift + rng.normal(0, spread, (seeds, 1)) + rng.normal(0, 0.03, (seeds, BLOCKS)))
        for shift in shifts
    ]


def claims(settings: list[np.ndarray], seed: int) -> list[int]:
    """The settings that the best is said to differ from."""
    _, others, _ = best_against_each(settings, np.full(BLOCKS, CHARACTERS), seed)
    return [other for other, found in others.items() if not found.low <= 0 <= found.high]


def test_a_known_difference_is_found_and_by_how_much():
    settings = drawn(np.random.default_rng(0), [0.2, 0.0, 0.5])
    best, others, level = best_against_each(settings, np.full(BLOCKS, CHARACTERS))
    assert best == 1
    assert level == pytest.approx(1 - 0.05 / 3)
    for other, truth in ((0, -0.2), (2, -0.5)):
        assert others[other].low < truth < others[other].high < 0


def test_the_same_losses_are_no_difference():
    (setting,) = drawn(np.random.default_rng(1), [0.0])
    assert claims([setting, setting.copy(), setting.copy()], 0) == []


def test_more_settings_widen_every_interval():
    settings = drawn(np.random.default_rng(2), [0.0, 0.1, 0.1, 0.1])
    _, two, _ = best_against_each(settings[:2], np.full(BLOCKS, CHARACTERS))
    _, four, _ = best_against_each(settings, np.full(BLOCKS, CHARACTERS))
    assert four[1].high - four[1].low > 1.2 * (two[1].high - two[1].low)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [2, 4, 8])
def test_false_alarms_are_as_rare_as_is_said(settings, monkeypatch):
    """Of experiments in which nothing differs, at most 5 % may say that something does (and chance in counting)."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 4_000)
    trials = 400
    alarms = sum(bool(claims(drawn(np.random.default_rng(trial), [0.0] * settings), trial)) for trial in range(trials))
    assert alarms / trials <= FALSE_ALARMS + 2 * np.sqrt(FALSE_ALARMS * (1 - FALSE_ALARMS) / trials)


@pytest.mark.slow
def test_without_widening_eight_settings_would_cry_wolf(monkeypatch):
    """The twin: intervals of 95 % each, as if the best had been named before."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 2_000)
    monkeypatch.setattr("clearhead.evaluation.several.math.comb", lambda *_: 1)
    alarms = sum(bool(claims(drawn(np.random.default_rng(trial), [0.0] * 8), trial)) for trial in range(100))
    assert alarms / 100 > 0.15
