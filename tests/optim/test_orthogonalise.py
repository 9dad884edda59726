"""Newton-Schulz in stacks against a plain loop, and against the singular values themselves."""

import pytest
import torch

from clearhead.optim.muon import orthogonalise
from oracles.newton_schulz import SHAPES, newton_schulz


@pytest.mark.parametrize("shape", [(16, 43), (43, 16), (1, 7), (96, 32), (128, 344), (384, 128)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_singular_values_come_near_one(shape, dtype):
    torch.manual_seed(0)
    out = orthogonalise(torch.randn(3, *shape).to(dtype))
    assert out.dtype == dtype
    values = torch.linalg.svdvals(out.double())
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_more_steps_reach_smaller_values(steps):
    """From 0 a step multiplies by 3.4445: what begins above 3.4445^-steps ends near 1."""
    values = torch.logspace(0, -3, 64, dtype=torch.float64)
    u, v = (torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))[0] for _ in range(2))
    out = torch.linalg.svdvals(orthogonalise((u @ values.diag() @ v)[None], steps)[0])
    reached = values / values.norm() > 0.7 * 3.4445**-steps
    assert 10 < reached.sum() < 64
    assert ((out > 0.6) & (out < 1.3)).sum() >= reached.sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stack_is_its_matrices_one_by_one(shape):
    stack = torch.randn(5, *shape, dtype=torch.float64)
    out = orthogonalise(stack)
    for matrix, whole in zip(stack, out, strict=True):
        torch.testing.assert_close(orthogonalise(matrix[None])[0], whole)
        torch.testing.assert_close(newton_schulz(matrix), whole)


@pytest.mark.parametrize("shape", SHAPES)
def test_tall_is_wide_transposed(shape):
    stack = torch.randn(2, *shape)
    torch.testing.assert_close(orthogonalise(stack.mT), orthogonalise(stack).mT)


def test_singular_vectors_stay():
    torch.manual_seed(6)
    matrix = torch.randn(6, 9, dtype=torch.float64)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonalise(matrix[None])[0] @ v.T
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-12
    assert values.max() / values.min() > turned.diagonal().max() / turned.diagonal().min() > 0


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_length_of_a_gradient_does_not_matter(scale):
    stack = torch.randn(2, 8, 20)
    torch.testing.assert_close(orthogonalise(stack * scale), orthogonalise(stack))


@pytest.mark.parametrize(("dtype", "noise"), [(torch.float64, 1e-12), (torch.float32, 1e-3), (torch.bfloat16, 1.3)])
def test_what_lacks_rank_stays_finite(dtype, noise):
    """What rounding leaves in the empty directions grows by 3.4445^5 = 485 and no further than 1.2."""
    torch.manual_seed(4)
    rank_one = torch.outer(torch.randn(12).double(), torch.randn(30).double()).to(dtype)
    out = orthogonalise(torch.stack([rank_one, torch.zeros(12, 30, dtype=dtype)]))
    values = torch.linalg.svdvals(out.double())
    assert 0.6 < values[0, 0] < 1.3
    assert values[0, 1] < noise
    assert not out[1].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_changes_little(shape):
    torch.manual_seed(5)
    stack = torch.randn(3, *shape)
    coarse, fine = orthogonalise(stack, dtype=torch.bfloat16), orthogonalise(stack)
    assert coarse.dtype == fine.dtype == torch.float32
    assert not torch.equal(coarse, fine)
    assert (coarse - fine).norm() < 0.03 * fine.norm()
