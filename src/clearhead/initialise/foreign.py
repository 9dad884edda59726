"""The forward passes of other projects, in the textbook's steps, on those projects' own tensors.

What an import is held against. Nothing here is shared with our models: every head by itself, its mask and softmax
written out, in float64. Shapes: B rows, T positions, C width, hs head size, V vocabulary.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = Mapping[str, Tensor]
"""By the names of the other project."""
Logits = Callable[[Weights, Tensor, int], Tensor]
"""(weights, idx (B, T), n_head) -> logits (B, T, V) float64."""

NORM_EPS = 1e-5
"""Of LayerNorm in both projects."""


def nanogpt_logits(weights: Weights, idx: Tensor, n_head: int) -> Tensor:
    """Of nanoGPT's GPT: heads are slices of one packed projection, GELU is exact, the head is the embedding."""
    table = _of(weights, "transformer.wte.weight")
    x = table[idx] + _of(weights, "transformer.wpe.weight")[: idx.shape[1]]  # (B, T, C)
    layer = 0
    while f"transformer.h.{layer}.ln_1.weight" in weights:
        block = f"transformer.h.{layer}"
        q, k, v = _linear(weights, f"{block}.attn.c_attn", _norm(weights, f"{block}.ln_1", x)).chunk(3, -1)
        parts = zip(q.chunk(n_head, -1), k.chunk(n_head, -1), v.chunk(n_head, -1), strict=True)
        x = x + _linear(weights, f"{block}.attn.c_proj", torch.cat([_attend(*part) for part in parts], -1))
        h = _linear(weights, f"{block}.mlp.c_fc", _norm(weights, f"{block}.ln_2", x))
        x = x + _linear(weights, f"{block}.mlp.c_proj", h * 0.5 * (1 + torch.erf(h / math.sqrt(2))))
        layer += 1
    head = _of(weights, "lm_head.weight") if "lm_head.weight" in weights else table
    return _norm(weights, "transformer.ln_f", x) @ head.T


def lecture_logits(weights: Weights, idx: Tensor, n_head: int) -> Tensor:
    """Of the lecture's GPTLanguageModel: every head has three matrices of its own."""
    x = _of(weights, "token_embedding_table.weight")[idx]
    x = x + _of(weights, "position_embedding_table.weight")[: idx.shape[1]]  # (B, T, C)
    layer = 0
    while f"blocks.{layer}.ln1.weight" in weights:
        block, said = f"blocks.{layer}", []
        h = _norm(weights, f"{block}.ln1", x)
        for head in range(n_head):
            own = f"{block}.sa.heads.{head}"
            said.append(_attend(*(_linear(weights, f"{own}.{part}", h) for part in ("query", "key", "value"))))
        x = x + _linear(weights, f"{block}.sa.proj", torch.cat(said, -1))
        h = _linear(weights, f"{block}.ffwd.net.0", _norm(weights, f"{block}.ln2", x)).clamp(min=0)
        x = x + _linear(weights, f"{block}.ffwd.net.2", h)
        layer += 1
    return _linear(weights, "lm_head", _norm(weights, "ln_f", x))


def bigram_logits(weights: Weights, idx: Tensor, n_head: int) -> Tensor:
    """Of the lecture's BigramLanguageModel: a row of the table for each token. It has no heads."""
    return _of(weights, "token_embedding_table.weight")[idx]


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head over the past: (B, T, hs) each -> (B, T, hs)."""
    T, hs = q.shape[-2:]
    scores = torch.einsum("bth,bsh->bts", q, k) / math.sqrt(hs)
    future = torch.arange(T)[None, :] > torch.arange(T)[:, None]
    scores[:, future] = -math.inf
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    y = x @ _of(weights, f"{name}.weight").T
    return y + _of(weights, f"{name}.bias") if f"{name}.bias" in weights else y


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    bias = _of(weights, f"{name}.bias") if f"{name}.bias" in weights else None
    return F.layer_norm(x, x.shape[-1:], _of(weights, f"{name}.weight"), bias, NORM_EPS)


def _of(weights: Weights, name: str) -> Tensor:
    return weights[name].double()
