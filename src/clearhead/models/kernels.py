"""Element-wise formulas with their gradients written out: the same numbers in fewer passes over memory.

Eager autograd keeps and re-reads an intermediate for every operation; at the widths of a small model these passes
take as long as the matrix products. Each function has its slow twin, in PyTorch's own operators, in the tests.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _RMSNorm(Function):
    """x (..., C), weight (C,) -> (..., C), in the type of the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.dtype, x = x.dtype, x.to(weight.dtype)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        rate = square.div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        unit = x * rate
        ctx.save_for_backward(unit, rate, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        unit, rate, weight = ctx.saved_tensors
        by_weight = (gradient * unit).flatten(0, -2)  # (N, C)
        along = (by_weight @ weight).view(rate.shape)  # what the gradient holds along x
        by_x = (gradient * weight).addcmul_(unit, along, value=-1 / unit.shape[-1]).mul_(rate)
        return by_x.to(ctx.dtype), by_weight.sum(0), None


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension, in the type of the weight (Zhang & Sennrich 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return _RMSNorm.apply(x, self.weight, self.eps)  # pyright: ignore[reportReturnType]


class _Rotate(Function):
    """x (..., hs), cos and sin (..., hs/2) -> (..., hs); the gradient turns back by the same angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        return _turn(gradient, cos, sin, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    turned = torch.empty_like(x, memory_format=torch.contiguous_format)
    one, two = turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=one).addcmul_(second, sin, value=-direction)
    torch.mul(second, cos, out=two).addcmul_(first, sin, value=direction)
    return turned


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + hs/2) of x (..., hs) by angles whose cosines and sines are (..., hs/2)."""
    return _Rotate.apply(x, cos, sin)  # pyright: ignore[reportReturnType]


class _SwiGLU(Function):
    """x (..., 2 W) -> (..., W); the gradient is written into both halves at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate).mul_(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        gate, value = x.chunk(2, dim=-1)
        by_x = torch.empty_like(x)
        by_gate, by_value = by_x.chunk(2, dim=-1)
        torch.mul(gradient, F.silu(gate), out=by_value)
        torch.ops.aten.silu_backward.grad_input(gradient * value, gate, grad_input=by_gate)
        return by_x


def swiglu(x: Tensor) -> Tensor:
    """The first half of x, bent by SiLU, gates the second: (..., 2 W) -> (..., W) (Shazeer 2020)."""
    return _SwiGLU.apply(x)  # pyright: ignore[reportReturnType]


MATERIALISED = 1_024
"""Positions up to which the products' speed outweighs the memory of (T, T) scores."""


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float, *, scale: float, causal: bool = True) -> Tensor:
    """softmax(scale q k^T) v, the future hidden where `causal`: (B, nh, T, hs) -> (B, nh, T, hs).

    PyTorch's kernel takes the large products of every other device and type. On a CPU its bfloat16 backward is
    three times slower than its float32 one (torch 2.13), while plain batched products in bfloat16 take under half
    of float32's time; so there the scores are written out.
    """
    B, nh, T, hs = q.shape
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or T > MATERIALISED:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=causal, scale=scale)
    q, k, v = (x.reshape(B * nh, T, hs) for x in (q, k, v))
    hidden = torch.full((T, T), -torch.inf, dtype=q.dtype).triu(1) if causal else q.new_zeros(T, T)
    scores = torch.baddbmm(hidden, q, k.mT, alpha=scale)  # (B nh, T, T)
    wei = F.softmax(scores, dim=-1, dtype=q.dtype)
    return ((dropped(wei, dropout) if dropout else wei) @ v).view(B, nh, T, hs)


class Dropout(nn.Dropout):
    """Zero a share of the activations in training, and scale up what is kept (Srivastava et al. 2014).

    PyTorch draws a Bernoulli number for every activation, which on a CPU takes longer than the products around it.
    There one random byte decides, eight at a draw: the share is rounded to 256ths, and the scale fits what it is.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, the same shape."""
        return dropped(input, self.p) if self.training and self.p else input


def dropped(x: Tensor, p: float) -> Tensor:
    """x with about a share p zeroed, from the default generator."""
    threshold = round(256 * p)
    if x.device.type != "cpu" or not 0 < threshold < 256:
        return F.dropout(x, p)
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(1 << 63), None)
    kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
    return x * kept.to(x.dtype).mul_(256 / (256 - threshold))


ALIGNED = 64
"""Columns of a bfloat16 matrix whose rows then begin where a GPU's copy engine wants them. With GPT-2's 50,257 tokens
whole steps took two fifths longer than with 50,304 (H100, eager; 8 % compiled)."""


def padded_linear(x: Tensor, weight: Tensor, bias: Tensor | None, multiple: int) -> Tensor:
    """x weight^T + bias, then columns of -inf up to a multiple: (..., C) -> (..., V'). A softmax does not see them."""
    spare = -len(weight) % multiple
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    hidden = weight.new_full((spare,), -torch.inf)
    return F.linear(x, F.pad(weight, (0, 0, 0, spare)), torch.cat([bias, hidden]))


def wide_logits(head: nn.Module, x: Tensor) -> Tensor:
    """head(x), (..., C) -> (..., V); on a GPU columns of -inf behind a vocabulary that it would read badly."""
    if x.device.type != "cuda" or not isinstance(head, nn.Linear) or head.out_features % ALIGNED == 0:
        return head(x)
    return padded_linear(x, head.weight, head.bias, ALIGNED)
