"""A GPT's next token by numpy: the same weights and the same cache, a third of the time per operation.

At batch 1 a small model's matrices take microseconds each, and what PyTorch does around an operation takes as long.
So the step that generation repeats is written out here, for models on the CPU. It reads and writes the memory of the
model's own `KVCache`, which the model fills by its forward pass. Its slow twin is that forward pass
(`decoding.ordinary`); the contract tests hold one against the other.

Shapes: n rows, one token each; C = n_embd, nh heads of size hs, V vocabulary; `end` is the longest row's length.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.config import GPTConfig
from clearhead.models.attention import KVCache, MultiHeadAttention, Rotary
from clearhead.models.gpt import Block, GPTLanguageModel

Floats = npt.NDArray[Any]
"""float32, or float64 where the weights are."""
Map = Callable[[Floats], Floats]

KNOWN = {
    *("vocab_size", "block_size", "n_embd", "n_head", "n_layer", "dropout", "positions", "norm", "norm_eps"),
    *("activation", "ffn_width", "qkv_bias", "bias", "head_bias", "qk_norm", "rope_theta", "tie_weights"),
    "scale_embedding",
}
"""The settings of a GPT that this file understands."""


def understands(model: GPTLanguageModel) -> bool:
    """Whether a model can be decoded here: a GPT on the CPU, in float32 or float64, without a setting unknown here."""
    if type(model) is not GPTLanguageModel or model.device.type != "cpu":
        return False
    other = [f for f in dataclasses.fields(GPTConfig) if f.name not in KNOWN]
    plain = all(getattr(model.config, f.name) == f.default for f in other)
    return plain and model.token_embedding_table.weight.dtype in (torch.float32, torch.float64)


class Place(NamedTuple):
    """Where the new token of each row stands; found once per step, used by every layer."""

    n: int
    end: int
    positions: npt.NDArray[np.int64] | int
    """(n,), or one number when all rows are equally long."""
    hidden: Floats | None
    """(n, 1, 1, end): 0, and -inf beyond a row's length; None when all are equally long."""
    angles: tuple[Floats, Floats] | None
    """Cosines and signed sines of the rotation, (hs,) or (n, 1, 1, hs); None where nothing is turned."""

    def write(self, cache: Floats, new: Floats) -> None:
        """Put new (n, nh, hs) where it belongs in a layer's cache (slots, nh, S, hs)."""
        if isinstance(self.positions, int):
            cache[: self.n, :, self.positions] = new
        else:
            cache[np.arange(self.n), :, self.positions] = new


class GPTDecoder:
    """`Decode` for a GPT that `understands` accepts; its weights are copied when it is made."""

    def __init__(self, model: GPTLanguageModel, cache: KVCache) -> None:
        config = model.config
        self.block_size = config.block_size
        self.lengths = cache.lengths.numpy()
        scale = config.n_embd**0.5 if config.scale_embedding else 1.0
        self.tokens = _array(model.token_embedding_table.weight) * scale  # (V, C)
        self.positions = _array(model.position_embedding_table.weight) if config.positions == "learned" else None
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        self.tables = None if (rotary := blocks[0].sa.rotary) is None else _tables(rotary)
        self.layers = [_layer(block, cache.k[i].numpy(), cache.v[i].numpy()) for i, block in enumerate(blocks)]
        self.head = _normed_linear(model.ln_f, model.lm_head)

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Logits (n, V) after the next tokens of the first n rows of the cache."""
        lengths = self.lengths[: len(ids)]
        place = self.place(lengths)
        x = self.tokens[list(ids)]  # (n, C)
        if self.positions is not None:
            x += self.positions[place.positions]
        for attend, feed_forward in self.layers:
            x += attend(x, place)
            x += feed_forward(x)
        lengths += 1
        return torch.from_numpy(self.head(x))

    def place(self, lengths: npt.NDArray[np.int64]) -> Place:
        """Of the next token of rows with these lengths (n,); ValueError when one has no room."""
        n, longest = len(lengths), int(lengths.max())
        if longest >= self.block_size:
            raise ValueError(
                f"a row would hold {longest + 1} tokens in a cache of {self.block_size}; refill its window"
            )
        even = n == 1 or int(lengths.min()) == longest
        positions = longest if even else lengths.copy()
        angles, hidden = None, None
        if self.tables is not None:
            cos, sin = (table[positions] for table in self.tables)  # (hs,) or (n, hs)
            angles = (cos, sin) if even else (cos[:, None, None], sin[:, None, None])
        if not even:
            beyond = np.arange(longest + 1) > lengths[:, None]  # (n, end)
            hidden = np.where(beyond, -np.inf, 0.0)[:, None, None].astype(self.tokens.dtype)
        return Place(n, longest + 1, positions, hidden, angles)


def _tables(rotary: Rotary) -> tuple[Floats, Floats]:
    """Cosines and sines (S, hs) that turn both halves at once: `turn` swaps the halves, the sign is here."""
    cos, sin = _array(rotary.cos), _array(rotary.sin)
    return np.concatenate([cos, cos], axis=1), np.concatenate([-sin, sin], axis=1)


def _layer(block: Block, k: Floats, v: Floats) -> tuple[Callable[[Floats, Place], Floats], Map]:
    """What a block adds to the stream (n, C): its attention over caches k, v (slots, nh, S, hs), its feed-forward."""
    up, down, bend = (
        _normed_linear(block.ln2, block.ffwd.up),
        _linear(block.ffwd.proj),
        _ACTIVATIONS[block.ffwd.activation],
    )
    return _attention(block.ln1, block.sa, k, v), lambda x: down(bend(up(x)))


def _attention(ln1: nn.Module, sa: MultiHeadAttention, k: Floats, v: Floats) -> Callable[[Floats, Place], Floats]:
    """(n, C) -> (n, C), writing into the caches."""
    project, back, scale = _normed_linear(ln1, sa.qkv), _linear(sa.proj), sa.head_size**-0.5
    shape = (-1, 3, sa.n_head, sa.head_size)
    norm = None
    if sa.q_norm is not None and sa.k_norm is not None:
        weight = np.stack([_array(sa.q_norm.weight), _array(sa.k_norm.weight)])[:, None]  # (2, 1, hs)
        norm = _rmsnorm(weight, sa.q_norm.eps)

    def attend(x: Floats, place: Place) -> Floats:
        n, end = place.n, place.end
        qkv = project(x).reshape(shape)
        qk = qkv[:, :2]  # (n, 2, nh, hs)
        if norm is not None:
            qk = norm(qk)
        if place.angles is not None:
            qk = _turn(qk, *place.angles)
        place.write(k, qk[:, 1])
        place.write(v, qkv[:, 2])
        scores = (qk[:, 0, :, None] * scale) @ k[:n, :, :end].swapaxes(-2, -1)  # (n, nh, 1, end)
        if place.hidden is not None:
            scores += place.hidden
        wei = torch.from_numpy(scores).softmax(-1).numpy()
        return back((wei @ v[:n, :, :end]).reshape(n, -1))

    return attend


def _swiglu(x: Floats) -> Floats:
    width = x.shape[1] // 2
    return F.silu(torch.from_numpy(x[:, :width])).numpy() * x[:, width:]


_ACTIVATIONS: dict[str, Map] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.square(np.maximum(x, 0)),
    "gelu": lambda x: F.gelu(torch.from_numpy(x)).numpy(),
    "gelu_tanh": lambda x: F.gelu(torch.from_numpy(x), approximate="tanh").numpy(),
    "swiglu": _swiglu,
}


def _linear(layer: nn.Module, gain: Floats | None = None) -> Map:
    """x (n, I) -> (x gain) W^T + b (n, O), a gain (I,) being part of the weights.

    They are copied as (I, O), which the product with one row reads in one sweep. For more rows PyTorch's product is as
    fast, and shares them among its threads.
    """
    if not isinstance(layer, nn.Linear):  # smaller weights have products of their own
        return lambda x: layer(torch.from_numpy(x if gain is None else x * gain)).numpy()
    columns = np.ascontiguousarray(_array(layer.weight).T)
    if gain is not None:
        columns *= gain[:, None]
    rows, bias = torch.from_numpy(columns).T, None if layer.bias is None else layer.bias.detach()
    added = None if bias is None else bias.numpy()

    def apply(x: Floats) -> Floats:
        if len(x) > 1:
            return F.linear(torch.from_numpy(x), rows, bias).numpy()
        return np.dot(x, columns) if added is None else np.dot(x, columns) + added

    return apply


def _normed_linear(norm: nn.Module, layer: nn.Module) -> Map:
    """A normalisation of x (n, C) and the matrix after it."""
    if isinstance(norm, nn.Identity):
        return _linear(layer)
    if isinstance(norm, nn.LayerNorm):
        apply, shape, weight, bias, eps = _linear(layer), norm.normalized_shape, norm.weight, norm.bias, norm.eps
        return lambda x: apply(F.layer_norm(torch.from_numpy(x), shape, weight, bias, eps).numpy())
    assert isinstance(norm, nn.RMSNorm)
    apply, unit = _linear(layer, _array(norm.weight)), _rmsnorm(None, norm.eps)
    return lambda x: apply(unit(x))


def _rmsnorm(weight: Floats | None, eps: float | None) -> Map:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension of x, (..., C)."""
    eps = eps or 0.0

    def norm(x: Floats) -> Floats:
        width = x.shape[-1]
        if x.size == width:  # one row: a number costs less than an array that holds one
            unit = x * (1 / math.sqrt(float(np.dot(x[0], x[0])) / width + eps))
        else:
            unit = x / np.sqrt(np.einsum("...i,...i->...", x, x)[..., None] / width + eps)
        return unit if weight is None else unit * weight

    return norm


def _turn(x: Floats, cos: Floats, sin: Floats) -> Floats:
    """Turn x (n, 2, nh, hs) by angles from `_tables`."""
    half = x.shape[-1] // 2
    turned = np.empty_like(x)
    np.multiply(x[..., half:], sin[..., :half], out=turned[..., :half])
    np.multiply(x[..., :half], sin[..., half:], out=turned[..., half:])
    turned += x * cos
    return turned


def _array(weight: Tensor) -> Floats:
    """The values of a weight, in the memory of the tensor."""
    return weight.detach().numpy()
