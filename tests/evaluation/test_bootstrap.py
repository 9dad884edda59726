"""Intervals hold the truth as often as they say, and are no wider than they need be."""

import math

import numpy as np
import pytest

from clearhead.evaluation import bootstrap
from clearhead.evaluation.alignment import Pieces
from clearhead.evaluation.bootstrap import Interval, difference, in_blocks, seed_noise
from clearhead.runtime import stream_seed

BLOCKS, CHARACTERS = 40, 100.0


def losses(rng: np.random.Generator, text: np.ndarray, seeds: int = 1, spread: float = 0.0) -> np.ndarray:
    """Bits (R, m) of runs on one text: what is hard is hard for all, the rest is their own."""
    own = rng.normal(size=(seeds, 1)) * spread + rng.normal(size=(seeds, len(text))) * 0.05
    return CHARACTERS * (2 + text + own)


def trials(number: int, seeds: int = 1, spread: float = 0.0, shift: float = 0.0) -> list[Interval]:
    """Comparisons of two sides of one process, the second moved by a shift."""
    found = []
    for trial in range(number):
        rng = np.random.default_rng(trial)
        text = rng.normal(size=BLOCKS)
        a, b = (losses(rng, text, seeds, spread) for _ in range(2))
        found.append(difference(a, b + CHARACTERS * shift, np.full(BLOCKS, CHARACTERS), trial))
    return found


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1_000)


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (2, 0.05), (3, 0.05)])
def test_the_truth_lies_in_about_95_of_100_intervals(seeds, spread):
    for shift in (0.0, 0.01):
        share = np.mean([holds(interval, -shift) for interval in trials(300, seeds, spread, shift)])
        assert 0.92 <= share <= 0.985


def test_resampling_two_runs_would_be_too_sure():
    """The twin that `seed_noise` is there for: whole runs drawn with replacement."""
    held = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        a, b = rng.normal(size=(2, 2))
        drawn = [side[rng.integers(2, size=(1_000, 2))].mean(1) for side in (a, b)]
        low, high = np.quantile(drawn[0] - drawn[1], (0.025, 0.975))
        held += low <= 0 <= high
    assert held / 300 < 0.85


def test_a_real_difference_is_found():
    assert all(interval.high < 0 for interval in trials(50, shift=0.1))


def test_pairing_matters():
    rng = np.random.default_rng(0)
    text, characters = rng.normal(size=BLOCKS), np.full(BLOCKS, CHARACTERS)
    a, b = losses(rng, text), losses(rng, text) + CHARACTERS * 0.05
    paired = difference(a, b, characters, 0)
    unpaired = difference(a, b[:, rng.permutation(BLOCKS)], characters, 0)
    assert unpaired.value == pytest.approx(paired.value)
    assert unpaired.high - unpaired.low > 5 * (paired.high - paired.low)
    assert paired.high < 0 < unpaired.high


def test_neighbours_that_depend_on_each_other_need_blocks():
    """Of a process that remembers 30 characters, characters one by one claim an interval of less than half."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40_000)
    for i in range(1, len(noise)):
        noise[i] += 0.9 * noise[i - 1]
    pieces = Pieces(np.stack([2 + noise, np.full(len(noise), 2.0)]), np.ones(len(noise)))
    bits, characters = in_blocks(pieces)
    assert len(characters) == 20
    blocks = difference(bits[:1], bits[1:], characters, 0)
    single = 2 * 1.96 * noise.std() / math.sqrt(len(noise))
    assert blocks.high - blocks.low > 2 * single


def test_the_same_runs_differ_by_nothing():
    rng = np.random.default_rng(0)
    runs = losses(rng, rng.normal(size=BLOCKS))
    assert difference(runs, runs, np.full(BLOCKS, CHARACTERS), 0) == Interval(0.0, 0.0, 0.0)


def test_the_fast_path_equals_its_slow_twin(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 50)
    rng = np.random.default_rng(0)
    a, b, characters = rng.random((2, 12)), rng.random((3, 12)), rng.integers(90, 110, size=12).astype(float)
    found = difference(a, b, characters, 7)

    rng = np.random.default_rng(stream_seed(7, "compare"))
    drawn, chi = rng.integers(12, size=(50, 12)), rng.chisquare(11, 50)
    value = sum(a.mean(0) - b.mean(0)) / sum(characters)
    per_char = [[run.sum() / characters.sum() for run in side] for side in (a, b)]
    variance = sum(np.var(side, ddof=1) * (len(side) - 1) for side in per_char) / 3
    student = rng.standard_t(3, 50)
    resampled = []
    for row, c, t in zip(drawn, chi, student, strict=True):
        gain = sum(sum(run[i] for run in a) / 2 - sum(run[i] for run in b) / 3 for i in row)
        text = gain / sum(characters[i] for i in row) - value
        resampled.append(value + text * math.sqrt(12 / c) + math.sqrt(variance * (1 / 2 + 1 / 3)) * t)
    low, high = np.percentile(resampled, (2.5, 97.5))
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high))


def test_runs_that_vary_widen_the_interval(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20_000)
    apart = CHARACTERS * np.array([[1.9], [2.0], [2.1]]) * np.ones(BLOCKS)
    found = difference(apart, np.full((3, BLOCKS), 2 * CHARACTERS), np.full(BLOCKS, CHARACTERS), 0)
    student = 2.776  # of 4 degrees of freedom
    assert found.value == pytest.approx(0)
    assert found.high - found.low == pytest.approx(2 * student * math.sqrt(0.01 / 2 * (2 / 3)), rel=0.05)


def test_one_run_shows_no_noise_of_its_seed():
    assert seed_noise([np.array([1.0]), np.array([2.0])]) == (0.0, 0)
    error, freedom = seed_noise([np.array([1.0]), np.array([2.0, 4.0])])
    assert (error, freedom) == (pytest.approx(math.sqrt(2 / 2)), 1)


@pytest.mark.parametrize(("characters", "blocks"), [(1_000, 20), (111_540, 55), (1_000_000, 200)])
def test_blocks_are_of_nearly_one_length(characters, blocks):
    ones = np.ones(characters)
    bits, sizes = in_blocks(Pieces(np.stack([ones, 2 * ones]), ones))
    assert len(sizes) == blocks
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(bits[0], sizes)
    assert bits.sum() == 3 * characters


def test_a_long_line_is_one_block():
    lengths = np.array([10.0] * 50 + [5_000.0] + [10.0] * 50)
    _, sizes = in_blocks(Pieces(lengths[None], lengths))
    assert sizes.sum() == lengths.sum()
    assert 5_000 <= sizes.max() <= 5_500
    assert sizes.min() > 0
