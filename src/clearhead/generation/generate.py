"""One loop that draws tokens from every rung of the ladder.

Shapes: B rows, T tokens of the prompt, V vocabulary. A model sees at most its `block_size`; `window_start` says
what it sees of a longer context, with a cache and without.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.sampling import draw, probabilities, uniforms
from clearhead.models.base import Cache, LanguageModel


def window_start(length: int, block_size: int | None) -> int:
    """Where the window begins that a model sees of `length` tokens: the overflow rule.

    All tokens while they fit. When one too many has come, only the newest block_size // 2 stay (at least 1), and
    the window grows again from there: the cache is filled anew once per half context, not once per token.

    >>> [length - window_start(length, 8) for length in (7, 8, 9, 10, 13, 14)]
    [7, 8, 4, 5, 8, 4]
    """
    if block_size is None or length <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(length - block_size) // stride) * stride


@dataclass
class Decoder:
    """Asks a model for the logits after a growing context, reading no token twice while the window stands."""

    model: LanguageModel
    use_cache: bool = True
    cache: Cache | None = field(default=None, init=False)
    start: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)

    @cached_property
    def device(self) -> torch.device:
        """Where the model lives, looked up once."""
        return self.model.device

    @torch.no_grad()
    def logits(self, context: Tensor) -> Tensor:
        """Logits (B, V) on the CPU after context (B, n), which continues the one before; n at least 1."""
        start = window_start(context.shape[1], self.model.block_size)
        if not self.use_cache:
            before = self.before(context, start)
            self.cache = self.model.cache_after(before) if before.shape[1] else None
            return self.read(context[:, start:])
        if self.cache is None:
            self.cache = self.model.new_cache(len(context))
        if start != self.start:
            self.cache.reset()
            self.cache.precede(self.before(context, start))
            self.start = self.seen = start
        new, self.seen = context[:, self.seen :], context.shape[1]
        return self.read(new)

    def before(self, context: Tensor, start: int) -> Tensor:
        """The tokens (B, L) before a window that the model looks back to; none for most models."""
        return context[:, max(0, start - self.model.lookback) : start].to(self.device)

    def read(self, idx: Tensor) -> Tensor:
        """Logits (B, V) after idx, in evaluation mode; a model in training goes back to it."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            return self.model(idx.to(self.device), cache=self.cache).logits[:, -1].cpu()
        finally:
            if training:
                self.model.train()


def stream_ids(
    model: LanguageModel,
    idx: Tensor,
    sampling: SamplingConfig,
    *,
    rows: Sequence[int] | None = None,
    forbidden: Sequence[int] = (),
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """Yield the next token of every row, (B,) int64 on the CPU, `sampling.max_new_tokens` times.

    idx (B, T) is the prompt, T at least 1. `rows` are the rows' numbers among all samples of a seed (default 0 ..
    B - 1): what is drawn depends on them and not on the company. `forbidden` tokens are never drawn.
    """
    B, T = idx.shape
    if T == 0:
        raise ConfigError("idx has no token; a model continues at least one, such as a line end")
    if model.block_size is None:
        idx = idx[:, -max(1, model.context) :]  # a count model looks no further back
        T = idx.shape[1]
    context = torch.empty(B, T + sampling.max_new_tokens, dtype=torch.long)
    context[:, :T] = idx
    rows = range(B) if rows is None else rows
    decoder = Decoder(model, use_cache)
    for step in range(sampling.max_new_tokens):
        logits = decoder.logits(context[:, : T + step])
        logits[:, list(forbidden)] = float("-inf")
        probs = probabilities(logits, sampling.temperature, sampling.top_k, sampling.top_p)
        context[:, T + step] = draw(probs, uniforms(sampling.seed, rows, step))
        yield context[:, T + step].clone()


def generate(
    model: LanguageModel,
    idx: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 1337,
    use_cache: bool = True,
) -> Tensor:
    """The lecture's: idx (B, T) int64 extended by max_new_tokens drawn from the model, (B, T + max_new_tokens).

    The model is asked in evaluation mode and left in the mode it had; no global random state is read or moved.
    """
    sampling = SamplingConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed
    )
    new = list(stream_ids(model, idx, sampling, use_cache=use_cache))
    return torch.cat([idx, *(tokens[:, None].to(idx.device) for tokens in new)], dim=1)
