"""Each hand-written gradient against PyTorch's own operators, by value and by gradient."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.models.kernels import Dropout, RMSNorm, attend, padded_linear, rotate, swiglu


def assert_same_values_and_gradients(fast: Tensor, slow: Tensor, inputs: list[Tensor], tolerance: float = 1e-9) -> None:
    upstream = torch.randn_like(slow)
    grads_fast = torch.autograd.grad(fast, inputs, upstream.to(fast.dtype))
    grads_slow = torch.autograd.grad(slow, inputs, upstream)
    torch.testing.assert_close(fast.to(slow.dtype), slow, atol=tolerance, rtol=tolerance)
    for mine, theirs in zip(grads_fast, grads_slow, strict=True):
        torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=tolerance)


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("shape", [(2, 5, 8), (3, 4, 2, 8), (7, 8)])
def test_rms_norm_is_torchs(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(8, 1e-3, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
    x = _random(*shape)
    assert_same_values_and_gradients(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-3), [x, norm.weight])


def test_rms_norm_keeps_its_weights_type_and_gives_the_inputs_back() -> None:
    torch.manual_seed(0)
    x = _random(4, 8, dtype=torch.bfloat16)
    norm = RMSNorm(8, 1e-6)
    assert norm(x).dtype == torch.float32
    norm(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def test_rotation_is_a_product_of_complex_numbers() -> None:
    torch.manual_seed(0)
    x, angles = _random(2, 5, 3, 8), torch.randn(5, 1, 4, dtype=torch.float64)
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    slow = torch.cat([turned.real, turned.imag], dim=-1)
    assert_same_values_and_gradients(rotate(x, angles.cos(), angles.sin()), slow, [x])


def test_rotation_reads_what_is_not_contiguous() -> None:
    torch.manual_seed(0)
    packed, angles = _random(2, 5, 3, 2, 8), torch.randn(5, 1, 4, dtype=torch.float64)
    q = packed[:, :, 1]
    slow = rotate(q.contiguous(), angles.cos(), angles.sin())
    assert_same_values_and_gradients(rotate(q, angles.cos(), angles.sin()), slow, [packed])


def test_swiglu_is_a_gated_silu() -> None:
    torch.manual_seed(0)
    x = _random(3, 5, 14)
    gate, value = x.chunk(2, dim=-1)
    assert_same_values_and_gradients(swiglu(x), F.silu(gate) * value, [x])


@pytest.mark.parametrize("T", [1, 2, 64])
def test_written_out_attention_is_the_kernels(T: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, T, 16).bfloat16().requires_grad_() for _ in range(3))
    exact = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
    assert_same_values_and_gradients(
        attend(q, k, v, 0.0, scale=q.shape[-1] ** -0.5).float(), exact, [q, k, v], tolerance=0.05
    )


def test_written_out_attention_drops_out_what_is_attended_to() -> None:
    torch.manual_seed(0)
    q, k = (torch.zeros(1, 1, 512, 16).bfloat16() for _ in range(2))
    v = torch.ones(1, 1, 512, 16).bfloat16()
    dropped = attend(q, k, v, 0.5, scale=q.shape[-1] ** -0.5).float()[0, 0, 100:, 0]
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert dropped.std().item() > 0.02


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(501, 203, dtype=dtype, requires_grad=True)
    dropped = Dropout(p)(x)
    assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=0.008)
    assert dropped.double().mean().item() == pytest.approx(1.0, abs=0.01)
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped), "what was dropped learns nothing, the rest is scaled alike"


def test_dropout_follows_the_generator_and_rests_in_evaluation() -> None:
    dropout, x = Dropout(0.5), torch.ones(40)
    first, second, again = (torch.manual_seed(seed) and dropout(x) for seed in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 1e-4, 0.999])
def test_dropout_that_256ths_cannot_say_is_torchs(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(100_000))
    assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=1e-3)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("multiple", [1, 8, 64])
def test_columns_behind_the_vocabulary_change_no_loss(biased: bool, multiple: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = _random(2, 3, 8), _random(21, 8), _random(21)
    inputs = [x, weight, bias] if biased else [x, weight]
    targets = torch.randint(21, (6,))
    logits = F.linear(x, weight, bias if biased else None)
    wide = padded_linear(x, weight, bias if biased else None, multiple)
    assert wide.shape == (2, 3, -(-21 // multiple) * multiple)
    torch.testing.assert_close(wide[..., :21], logits, atol=1e-12, rtol=0)
    fast, slow = (F.cross_entropy(each.flatten(0, 1), targets) for each in (wide, logits))
    assert_same_values_and_gradients(fast, slow, inputs)
