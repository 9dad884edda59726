import numpy as np
import pytest

from clearhead.errors import ConfigError
from clearhead.inspection.projection import align, pca, project

RNG = np.random.default_rng(3)


def test_pca_is_the_eigenvectors_of_the_covariance():
    x = RNG.standard_normal((30, 6)) * np.array([5, 3, 1, 1, 0.5, 0.1])
    points, explained, basis = pca(x, 3)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(explained, values[::-1][:3] / values.sum())
    np.testing.assert_allclose(np.abs(basis.T @ vectors[:, ::-1][:, :3]), np.eye(3), atol=1e-8)
    np.testing.assert_allclose((x - x.mean(0)) @ basis, points, atol=1e-10)


def test_a_flat_table_is_drawn_as_it_is():
    x = RNG.standard_normal((12, 2))
    drawn = project(x, 2)
    np.testing.assert_array_equal(drawn.points, x)
    assert (drawn.method, drawn.kept, drawn.explained) == ("as it is", 1.0, ())
    assert project(x, 3).points.shape == (12, 3)


def test_the_picture_says_what_it_loses():
    plane = np.hstack([RNG.standard_normal((60, 2)) * 10, RNG.standard_normal((60, 30)) * 1e-6])
    ball = RNG.standard_normal((60, 32))
    assert project(plane, 2).kept == 1.0
    drawn = project(ball, 2)
    assert drawn.kept < 0.4
    assert f"{drawn.kept:.0%} of the 5 nearest neighbours kept (chance 8%)" in drawn.words


def test_umap_is_an_extra():
    try:
        import umap  # noqa: F401  # pyright: ignore
    except ImportError:
        with pytest.raises(ConfigError, match=r"pip install 'clearhead\[umap\]'"):
            project(RNG.standard_normal((20, 5)), 2, "umap")
    else:
        assert project(RNG.standard_normal((20, 5)), 2, "umap").method == "umap"


def test_procrustes_undoes_a_turn_and_a_flip_and_nothing_else():
    x = RNG.standard_normal((15, 2))
    flip = np.array([[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(align(x @ flip, x), x - x.mean(0), atol=1e-12)
    np.testing.assert_allclose(align(3 * x @ flip, x), 3 * (x - x.mean(0)), atol=1e-12)  # no stretching
