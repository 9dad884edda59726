import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.sampling import chances, draw, nucleus, probabilities

LOGITS = torch.tensor([[2.0, 0.5, -1.0, 1.0, 0.0], [0.0, 0.0, 3.0, -2.0, 1.0]])


def test_temperature_divides_the_logits():
    torch.testing.assert_close(probabilities(LOGITS, 0.7), (LOGITS.double() / 0.7).softmax(-1))
    assert probabilities(LOGITS, 0).tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    assert probabilities(LOGITS, 1e-300).tolist() == probabilities(LOGITS, 0).tolist()


def test_top_k_keeps_the_k_likeliest_in_proportion():
    probs, full = probabilities(LOGITS, top_k=2), LOGITS.double().softmax(-1)
    assert (probs > 0).tolist() == [[True, False, False, True, False], [False, False, True, False, True]]
    torch.testing.assert_close(probs[0, 0] / probs[0, 3], full[0, 0] / full[0, 3])
    torch.testing.assert_close(probabilities(LOGITS, top_k=99), full)
    assert (probabilities(torch.zeros(1, 6), top_k=4) > 0).sum() == 4  # ties do not widen it


def test_top_p_keeps_the_fewest_that_reach_it():
    probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64)
    assert (nucleus(probs, 0.6) > 0).tolist() == [[False, True, False, True]]
    assert (nucleus(probs, 0.75) > 0).tolist() == [[False, True, True, True]]
    assert (nucleus(probs, 1e-9) > 0).sum() == 1
    torch.testing.assert_close(nucleus(probs, 1.0), probs)
    torch.testing.assert_close(nucleus(probs, 0.6), torch.tensor([[0, 4 / 7, 0, 3 / 7]], dtype=torch.float64))


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest():
    full = LOGITS.double().softmax(-1)
    for min_p in (0.0, 0.1, 0.3, 1.0):
        probs = probabilities(LOGITS, min_p=min_p)
        kept = full >= min_p * full.amax(-1, keepdim=True)
        torch.testing.assert_close(probs, (full * kept) / (full * kept).sum(-1, keepdim=True))
    assert probabilities(LOGITS, 0.5, top_k=2, min_p=0.99).tolist() == probabilities(LOGITS, 0).tolist()


@example([-1.2e-38, 0.0], 1.0, None, 0.5)  # not the same logit, but the same probability
@given(
    st.lists(st.floats(-40, 40), min_size=1, max_size=12),
    st.floats(0, 5),
    st.none() | st.integers(1, 15),
    st.none() | st.floats(1e-6, 1),
)
def test_what_is_drawn_from_is_always_a_distribution(logits, temperature, top_k, top_p):
    probs = probabilities(torch.tensor([logits]), temperature, top_k, top_p)
    assert (probs >= 0).all()
    assert float(probs.sum()) == pytest.approx(1, abs=1e-9)
    assert (probs > 0).sum() <= (top_k or len(logits))
    whole = probabilities(torch.tensor([logits]), temperature)
    assert (probs[whole == whole.max()] > 0).any()  # one of the likeliest is always left


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"min_p": -0.1},
        {"min_p": 1.1},
    ],
)
def test_impossible_settings_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(ConfigError, match=f"^{name}="):
        probabilities(LOGITS, **bad)
    with pytest.raises(ConfigError, match=f"^{name}="):
        SamplingConfig(**bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"num_samples": 0},
        {"max_new_tokens": -1},
        {"seed": -1},
        {"stop": ("a", "")},
        {"logprobs": -1},
        {"repetition_penalty": 0.0},
        {"logit_bias": ((1, 101.0),)},
        {"logit_bias": ((-1, 1.0),)},
    ],
)
def test_impossible_requests_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(ConfigError, match=f"^{name}="):
        SamplingConfig(**bad)


def test_draw_is_the_inverse_of_the_cumulative_distribution():
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]])
    u = torch.tensor([0.0, 0.2499, 0.25, 0.9999, 1 - 2.0**-53], dtype=torch.float64)
    assert draw(probs.expand(5, -1), u).tolist() == [1, 1, 3, 3, 3]


@given(
    st.lists(st.sampled_from([0.0, 1e-30, 0.1, 1.0, 7.0]), min_size=1, max_size=20), st.floats(0, 1, exclude_max=True)
)
def test_draw_never_takes_what_has_no_probability(weights, u):
    if sum(weights) == 0:
        weights = [*weights, 1.0]
    assert weights[int(draw(torch.tensor([weights]), torch.tensor([u], dtype=torch.float64)))] > 0


def test_weights_that_diverged_are_named():
    for logits in (torch.full((1, 3), math.nan), torch.full((1, 3), -math.inf)):
        with pytest.raises(ConfigError, match="not finite"):
            draw(probabilities(logits), torch.tensor([0.5]))


def test_chances_are_a_function_of_seed_and_row():
    numbers = [chances(7, row).random(3).tolist() for row in range(4)]
    again = chances(7, 2)
    assert [again.random() for _ in range(3)] == numbers[2]
    assert len({number for row in [*numbers, chances(8, 0).random(4).tolist()] for number in row}) == 16
    spread = np.concatenate([chances(1, row).random(200) for row in range(50)])
    assert spread.mean() == pytest.approx(0.5, abs=0.01)
    assert spread.var() == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.8}])
def test_samples_follow_the_softmax(settings):
    """Pearson's chi-square at the one-in-a-thousand level, fixed seed."""
    probs = probabilities(LOGITS[:1], **settings)[0]
    n = 4_000
    u = torch.from_numpy(np.concatenate([chances(11, row).random(40) for row in range(n // 40)]))
    counts = torch.bincount(draw(probs.expand(n, -1), u), minlength=len(probs))
    likely = probs > 0
    chi = float(((counts - n * probs)[likely] ** 2 / (n * probs)[likely]).sum())
    critical = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47}[int(likely.sum()) - 1]
    assert chi < critical
    assert counts[~likely].sum() == 0
    shifted = torch.full_like(probs, 1 / len(probs))
    assert float(((counts - n * shifted) ** 2 / (n * shifted)).sum()) > critical  # the test can fail
