"""One more token for every row of a cache: the step that generation repeats.

Shapes: n rows, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clearhead.models.attention import KVCache
from clearhead.models.base import Cache, LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.gpt_compiled import CompiledDecoder, library
from clearhead.models.gpt_decoding import GPTDecoder, understands

Decode = Callable[[Sequence[int]], Tensor]
"""Reads the next token of each of the first n rows of a cache, and returns the logits (n, V) after it, on the CPU."""


def decoder_of(model: LanguageModel, cache: Cache) -> Decode:
    """The fastest way that is known to decode with this model into this cache."""
    if isinstance(model, GPTLanguageModel) and isinstance(cache, KVCache) and understands(model):
        compiled = library() if model.token_embedding_table.weight.dtype == torch.float32 else None
        return GPTDecoder(model, cache) if compiled is None else CompiledDecoder(model, cache, compiled.step)
    return ordinary(model, cache)


def ordinary(model: LanguageModel, cache: Cache) -> Decode:
    """The model's own forward pass: the slow twin of every other way."""

    def decode(ids: Sequence[int]) -> Tensor:
        idx = torch.tensor(ids, device=model.device)[:, None]  # (n, 1)
        return model(idx, cache=cache.rows(slice(len(ids)))).logits[:, -1].cpu()

    return decode
