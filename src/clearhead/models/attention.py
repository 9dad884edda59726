"""Causal self-attention: all heads in packed matrices, one head as a view of them, and the cache of both.

Shapes: B rows, T positions of this call, S positions of the cache, C = n_embd, nh heads of size hs = C / nh.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.config import GPTConfig
from clearhead.models.base import Cache
from clearhead.models.kernels import Dropout, RMSNorm, attend, rotate


@dataclass(frozen=True)
class Span:
    """Where the tokens of one call stand in the context; found once per call, used by every layer."""

    positions: Tensor
    """(T,) when all rows are equally far, else (B, T)."""
    end: int
    """The longest length after the call."""
    mask: Tensor | None = None
    """(T, end) or (B, 1, T, end) bool: which positions each token sees; None when `causal` says it all."""
    causal: bool = True
    """The tokens see each other triangularly and nothing else; False with a mask, or for one that sees all."""


class KVCache(Cache):
    """Keys and values of all layers, allocated at once; every row has its own length. Lengths live on the CPU."""

    k: Tensor
    """(L, B, nh, S, hs)"""
    v: Tensor
    """(L, B, nh, S, hs)"""

    def __init__(
        self,
        n_layer: int,
        slots: int,
        n_head: int,
        block_size: int,
        head_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (n_layer, slots, n_head, block_size, head_size)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(slots, dtype=torch.long)

    def rows(self, index: slice) -> Self:
        """A view of some rows; what is written through it is written here."""
        view = object.__new__(type(self))
        view.k, view.v, view.lengths = self.k[:, index], self.v[:, index], self.lengths[index]
        return view

    def reset(self) -> None:
        """Forget everything: all lengths become 0."""
        self.lengths.zero_()

    def copy_row(self, source: int, target: int) -> None:
        """Let the row `target` know what the row `source` knows."""
        used = slice(int(self.lengths[source]))
        for each in (self.k, self.v):
            each[:, target, :, used] = each[:, source, :, used]
        self.lengths[target] = self.lengths[source]

    def span(self, T: int) -> Span:
        """The place of the next T tokens; ValueError when a row has no room for them."""
        lengths, block_size, device = self.lengths.tolist(), self.k.shape[3], self.k.device
        end = max(lengths, default=0) + T
        if end > block_size:
            raise ValueError(f"a row would hold {end} tokens in a cache of {block_size}; prefill a shorter window")
        if min(lengths, default=0) + T == end:
            positions = torch.arange(end - T, end, device=device)
            if end == T or T == 1:
                return Span(positions, end, causal=T > 1)
            return Span(positions, end, positions[:, None] >= torch.arange(end, device=device), causal=False)
        positions = (self.lengths[:, None] + torch.arange(T)).to(device)  # (B, T)
        mask = positions[:, None, :, None] >= torch.arange(end, device=device)  # (B, 1, T, end)
        return Span(positions, end, mask, causal=False)

    def layer(self, index: int, span: Span) -> "LayerMemory":
        """One layer's share, for the tokens of a span."""
        return LayerMemory(self.k[index], self.v[index], span)


class LayerMemory(NamedTuple):
    """One layer's keys and values (B, nh, S, hs), and where the new ones go."""

    k: Tensor
    v: Tensor
    span: Span

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write new k, v (B, nh, T, hs); return all that the span may see, (B, nh, end, hs) each."""
        positions, end = self.span.positions, self.span.end
        if positions.ndim == 1:
            new = slice(end - k.shape[2], end)
            self.k[:, :, new], self.v[:, :, new] = k, v
        else:
            rows = torch.arange(len(k), device=k.device)[:, None]  # (B, 1), beside positions (B, T)
            self.k[rows, :, positions] = k.transpose(1, 2).to(self.k.dtype)
            self.v[rows, :, positions] = v.transpose(1, 2).to(self.v.dtype)
        dtype = torch.promote_types(k.dtype, self.k.dtype)
        return self.k[:, :, :end].to(dtype), self.v[:, :, :end].to(dtype)


class Rotary(nn.Module):
    """Rotary position embedding in halves (Su et al. 2021, eq. 34; the pairs are i and i + hs/2, as in GPT-NeoX).

    The tables are float32 and not saved: they follow from the configuration.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, block_size: int, head_size: int, theta: float) -> None:
        super().__init__()
        cos, sin = torch.empty(2, block_size, head_size // 2)
        if not cos.is_meta:  # of shapes alone nothing is computed: PyTorch would load its compiler to do so
            rates = theta ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)  # (hs/2,)
            angles = torch.arange(block_size, dtype=torch.float64)[:, None] * rates  # (S, hs/2)
            cos, sin = angles.cos().float(), angles.sin().float()
        self.register_buffer("cos", cos, persistent=False)  # (S, hs/2)
        self.register_buffer("sin", sin, persistent=False)  # (S, hs/2)

    def forward(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """Turn x (B, T, heads, hs) by its positions (T,) or (B, T); None is 0 .. T - 1."""
        if positions is None:
            cos, sin = self.cos[: x.shape[1]], self.sin[: x.shape[1]]
        else:
            cos, sin = self.cos[positions], self.sin[positions]
        return rotate(x, cos.unsqueeze(-2), sin.unsqueeze(-2))


class MultiHeadAttention(nn.Module):
    """All heads at once: one matrix for queries, keys and values, one for the way back to the residual stream.

    Rows 0 .. C - 1 of `qkv.weight` are the queries', head after head, then come the keys', then the values'.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.head_size = config.n_head, config.head_size
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.qkv_bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.q_norm = RMSNorm(config.head_size, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_size, config.norm_eps) if config.qk_norm else None
        rope = config.positions == "rope"
        self.rotary = Rotary(config.block_size, config.head_size, config.rope_theta) if rope else None
        self.dropout = Dropout(config.dropout)
        self.scale = 1.0 if config.without == "scale" else config.head_size**-0.5
        self.causal = config.without != "mask"
        self.kept: torch.dtype | None = None
        """What keys and values are rounded to, and kept in; None is the type of the weights."""

    def forward(self, x: Tensor, memory: LayerMemory | None = None) -> Tensor:
        """What the heads say, projected: (B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, self.head_size).unbind(2)  # (B, T, nh, hs) each
        positions = None if memory is None else memory.span.positions
        q, k = self.placed(q, self.q_norm, positions), self.placed(k, self.k_norm, positions)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, nh, T, hs)
        if self.kept is not None:
            k, v = k.to(self.kept).to(v.dtype), v.to(self.kept).to(v.dtype)
        # Norm and rotation leave float32 under autocast; values, or the cache, say what the product runs in.
        if memory is None:
            dropout = self.dropout.p if self.training else 0.0
            out = attend(q.to(v.dtype), k.to(v.dtype), v, dropout, scale=self.scale, causal=self.causal)
        else:
            (k, v), span = memory.extend(k, v), memory.span
            q, k = q.to(v.dtype), k.to(v.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=span.mask, is_causal=span.causal, scale=self.scale)
        return self.dropout(self.proj(out.transpose(1, 2).reshape(B, T, C)))

    def placed(self, x: Tensor, norm: RMSNorm | None, positions: Tensor | None = None) -> Tensor:
        """Queries or keys (B, T, heads, hs), normalised and turned as the configuration says."""
        if norm is not None:
            x = norm(x)
        return x if self.rotary is None else self.rotary(x, positions)

    def head(self, index: int) -> "Head":
        """A view of one head."""
        if not 0 <= index < self.n_head:
            raise IndexError(f"there is no head {index}; heads are 0 .. {self.n_head - 1}")
        return Head(self, index)


class HeadOutput(NamedTuple):
    """Every step of one head, as the lecture writes them."""

    q: Tensor
    """(B, T, hs): what each token looks for."""
    k: Tensor
    """(B, T, hs): what each token has to offer."""
    v: Tensor
    """(B, T, hs): what it says when it is attended to."""
    scores: Tensor
    """(B, T, T): q @ k^T / sqrt(hs), the future at -inf (where the model has the scale, and the mask)."""
    wei: Tensor
    """(B, T, T): the softmax of the scores; rows sum to 1."""
    out: Tensor
    """(B, T, hs): wei @ v."""


@dataclass(frozen=True, eq=False)
class Head:
    """One head of self-attention, in the lecture's words: a view without parameters of its own.

    The slices are taken at every call, so the view follows training. Head outputs side by side, through `proj`,
    are what `MultiHeadAttention` computes (evaluation mode: there is no dropout here).
    """

    attention: MultiHeadAttention
    index: int

    def __call__(self, x: Tensor) -> HeadOutput:
        """Every step of the head over x (B, T, C)."""
        T, attention = x.shape[1], self.attention
        q = attention.placed(self.project(0, x)[:, :, None], attention.q_norm).squeeze(2)  # (B, T, hs)
        k = attention.placed(self.project(1, x)[:, :, None], attention.k_norm).squeeze(2)  # (B, T, hs)
        v = self.project(2, x)  # (B, T, hs)
        scores = q @ k.transpose(-2, -1) * attention.scale  # (B, T, hs) @ (B, hs, T) -> (B, T, T)
        if attention.causal:
            tril = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
            scores = scores.masked_fill(~tril, float("-inf"))
        wei = F.softmax(scores, dim=-1)  # (B, T, T)
        return HeadOutput(q, k, v, scores, wei, out=wei @ v)

    def project(self, part: int, x: Tensor) -> Tensor:
        """This head's query (part 0), key (1) or value (2) of x: (B, T, C) -> (B, T, hs)."""
        start = part * x.shape[-1] + self.index * self.attention.head_size
        rows = slice(start, start + self.attention.head_size)
        packed = self.attention.qkv
        return F.linear(x, packed.weight[rows], None if packed.bias is None else packed.bias[rows])
