"""The GPT of the lecture, with the options that grew since.

Shapes: B rows, T positions, C = n_embd, V vocabulary; heads are in `attention.py`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.config import GPTConfig
from clearhead.errors import ConfigError
from clearhead.models.attention import KVCache, LayerMemory, MultiHeadAttention
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output, cross_entropy
from clearhead.models.kernels import Dropout, RMSNorm, swiglu, wide_logits


def build_norm(config: GPTConfig) -> nn.Module:
    """The normalisation over the last dimension that a configuration names; "none" passes through."""
    match config.norm:
        case "layernorm":
            return nn.LayerNorm(config.n_embd, config.norm_eps, bias=config.bias)
        case "rmsnorm":
            return RMSNorm(config.n_embd, config.norm_eps)
        case "none":
            return nn.Identity()


def relu2(x: Tensor) -> Tensor:
    """The square of what is positive (So et al. 2021)."""
    return F.relu(x).square()


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu2": relu2,
    "swiglu": swiglu,
}


class FeedForward(nn.Module):
    """What a token does by itself with what attention brought: widen, bend, narrow.

    The two widening matrices of swiglu are packed into `up`, the gate's first.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = config.activation
        width = config.feed_forward_width
        self.up = nn.Linear(config.n_embd, 2 * width if config.activation == "swiglu" else width, bias=config.bias)
        self.proj = nn.Linear(width, config.n_embd, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C), every position alone."""
        return self.dropout(self.proj(self.hidden(x)))

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons: (B, T, C) -> (B, T, W)."""
        return _ACTIVATIONS[self.activation](self.up(x))


class Block(nn.Module):
    """Communication, then computation, each added to the residual stream (pre-norm).

    `GPTConfig.without` leaves the addition or the computation out; then there is no `ln2` and no `ffwd`.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln1 = build_norm(config)
        self.sa = MultiHeadAttention(config)
        self.residual, self.computes = config.without != "residual", config.without != "feed_forward"
        if self.computes:
            self.ln2 = build_norm(config)
            self.ffwd = FeedForward(config)

    def forward(self, x: Tensor, memory: LayerMemory | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = self.join(x, self.sa(self.ln1(x), memory))
        return self.join(x, self.ffwd(self.ln2(x))) if self.computes else x

    def join(self, x: Tensor, said: Tensor) -> Tensor:
        """What a sublayer says, added to what it read (B, T, C); without residual connections that is lost."""
        return x + said if self.residual else said


class GPTLanguageModel(LanguageModel):
    """A decoder-only transformer (Radford et al. 2019), as wide, deep and modern as its configuration.

    >>> import torch
    >>> model = GPTLanguageModel(GPTConfig(vocab_size=65, block_size=8, n_embd=16, n_head=2, n_layer=1))
    >>> logits, loss = model(torch.zeros(4, 8, dtype=torch.long), torch.zeros(4, 8, dtype=torch.long))
    >>> logits.shape, loss.shape
    (torch.Size([4, 8, 65]), torch.Size([]))
    """

    kind = "gpt"

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.vocab_size, self.block_size, self.context = config.vocab_size, config.block_size, config.block_size
        self.token_embedding_table = nn.Embedding(config.vocab_size, config.n_embd)
        if config.positions == "learned":
            self.position_embedding_table = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = build_norm(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=config.head_bias)
        if config.tie_weights:
            self.lm_head.weight = self.token_embedding_table.weight
            self.register_state_dict_post_hook(_leave_out_head)
            self.register_load_state_dict_pre_hook(_put_in_head)

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Logits (B, T, V) after each of idx (B, T), and the loss; ConfigError when T exceeds block_size."""
        T, most = idx.shape[1], self.config.block_size
        if most < T:
            raise ConfigError(f"{T} tokens do not fit block_size={most}; pass the last {most}")
        if cache is None:
            x = self.embed(idx)  # (B, T, C)
            for block in self.blocks:
                x = block(x)
        elif isinstance(cache, HistoryCache):
            return self._anew(idx, targets, cache)
        else:
            assert isinstance(cache, KVCache), "a cache comes from this model's new_cache"
            span = cache.span(T)
            x = self.embed(idx, span.positions)
            for i, block in enumerate(self.blocks):
                x = block(x, cache.layer(i, span))
            cache.lengths += T
        wide = wide_logits(self.lm_head, self.ln_f(x))  # (B, T, V), and on a GPU columns of -inf behind
        return Output(wide[..., : self.vocab_size], None if targets is None else cross_entropy(wide, targets))

    def _anew(self, idx: Tensor, targets: Tensor | None, cache: HistoryCache) -> Output:
        """What a model without a mask says after idx (B, T): new tokens change what the old ones hear, so each row's
        whole window is read again."""
        history, lengths = cache.extend(idx)
        windows = (torch.cat([old[len(old) - n :], new]) for old, n, new in zip(history, lengths, idx, strict=True))
        logits = torch.cat([self(window[None]).logits[:, -idx.shape[1] :] for window in windows])  # (B, T, V)
        return Output(logits, None if targets is None else cross_entropy(logits, targets))

    def embed(self, idx: Tensor, positions: Tensor | None = None) -> Tensor:
        """The residual stream before the first block: (B, T) -> (B, T, C).

        positions are (T,) or (B, T); None is 0 .. T - 1.
        """
        x = self.token_embedding_table(idx)
        if self.config.scale_embedding:
            x = x * self.config.n_embd**0.5
        if self.config.positions == "learned":
            table = self.position_embedding_table.weight
            x = x + (table[: idx.shape[1]] if positions is None else table[positions])
        return self.dropout(x)

    @property
    def predicts(self) -> bool:
        """Whether logits depend on what stands before alone: without a mask they have seen what comes."""
        return self.config.without != "mask"

    def new_cache(self, slots: int) -> Cache:
        """An empty cache for `slots` rows, in the type that attention keeps and where the weights live.

        Keys and values; for a model without a mask the tokens alone, for there each changes what all others say.
        """
        config, weight = self.config, self.token_embedding_table.weight
        if config.without == "mask":
            return HistoryCache(slots, config.block_size, weight.device)
        block = self.blocks[0]
        assert isinstance(block, Block)
        shape = (config.n_layer, slots, config.n_head, config.block_size, config.head_size)
        return KVCache(*shape, block.sa.kept or weight.dtype, weight.device)

    def to_config(self) -> dict[str, Any]:
        """The fields of its `GPTConfig`."""
        return dataclasses.asdict(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model that `to_config` described, with fresh weights; ConfigError when the values make none."""
        known = {f.name for f in dataclasses.fields(GPTConfig)}
        if unknown := sorted(config.keys() - known):
            raise ConfigError(f"a GPT has no setting '{unknown[0]}'; it has {', '.join(sorted(known))}")
        return cls(GPTConfig(**config))


def _leave_out_head(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A tied head is the embedding, and a weight is saved once."""
    del state[f"{prefix}lm_head.weight"]


def _put_in_head(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Loading wants every name, also that of the tied head."""
    if (table := state.get(f"{prefix}token_embedding_table.weight")) is not None:
        state[f"{prefix}lm_head.weight"] = table
