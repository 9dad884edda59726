import math

import numpy as np

from clearhead.inspection.dimensions import meaning

RNG = np.random.default_rng(3)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
COUNTS = np.arange(30, 30 + 52)


def test_a_dimension_that_means_something_is_told_from_a_turned_space():
    rng = np.random.default_rng(1)
    noise = 0.3 * rng.standard_normal((52, 16))
    noise[:, 5] += [float(c.isupper()) for c in LETTERS]
    told = meaning(noise, LETTERS, COUNTS, LETTERS)
    upper = next(f for f in told.features if f.name == "upper case")
    assert upper.best_dimension == 5
    assert upper.p_rotation <= 0.05
    assert upper.p_permutation <= 0.05
    assert "upper case (dimension 5)" in told.verdict
    turn, _ = np.linalg.qr(rng.standard_normal((16, 16)))
    turned = meaning(noise @ turn, LETTERS, COUNTS, LETTERS)
    upper = next(f for f in turned.features if f.name == "upper case")
    assert upper.p_permutation <= 0.05, "the space still knows"
    assert upper.p_rotation > 0.05, "but no axis of it does"


def test_noise_means_nothing():
    """p-values are honest: over twenty random spaces, few features pass."""
    hits = 0
    for seed in range(20):
        told = meaning(np.random.default_rng(seed).standard_normal((52, 8)), LETTERS, COUNTS, LETTERS, seed)
        hits += any(f.p_permutation <= 0.05 for f in told.features)
    assert hits <= 4


def test_rare_tokens_are_left_out():
    counts = COUNTS.copy()
    counts[:10] = 3
    assert meaning(RNG.standard_normal((52, 4)), LETTERS, counts, LETTERS).tokens == 42


def test_correlations_are_numpys():
    x = RNG.standard_normal((52, 4))
    told = meaning(x, LETTERS, COUNTS, LETTERS)
    upper = np.array([c.isupper() for c in LETTERS], float)
    for d in told.dimensions:
        assert math.isclose(d.correlations["upper case"], np.corrcoef(x[:, d.number], upper)[0, 1], rel_tol=1e-9)
        assert math.isclose(
            d.correlations["log frequency"], np.corrcoef(x[:, d.number], np.log(COUNTS))[0, 1], rel_tol=1e-9
        )
    first = told.dimensions[0]
    assert first.top[0] == LETTERS[int(x[:, 0].argmax())]
    assert first.bottom[0] == LETTERS[int(x[:, 0].argmin())]
    assert math.isclose(sum(d.share for d in told.dimensions), 1.0)
