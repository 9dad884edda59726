"""One more token for every row of a cache: the step that generation repeats.

Shapes: n rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from ctypes import CDLL

import torch
from torch import Tensor

from clearhead.models.attention import KVCache
from clearhead.models.base import Cache, LanguageModel
from clearhead.models.compiling import library
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.gpt_compiled import CompiledDecoder
from clearhead.models.gpt_decoding import GPTDecoder, understands
from clearhead.models.mixture import MixtureCache, MixtureLanguageModel
from clearhead.models.mixture_decoding import CompiledMixtureDecoder, MixtureDecoder

Decode = Callable[[Sequence[int]], Tensor]
"""Reads the next token of each of the first n rows of a cache, and returns the logits (n, V) after it, on the CPU."""


def decoder_of(model: LanguageModel, cache: Cache) -> Decode:
    """The fastest way that is known to decode with this model into this cache."""
    if type(model) is GPTLanguageModel and isinstance(cache, KVCache) and understands(model):
        return _gpt_decoder(model, cache)
    if type(model) is MixtureLanguageModel and isinstance(cache, MixtureCache) and understands(model.gpt):
        assert isinstance(cache.keys, KVCache)  # a mixture's GPT has its mask
        gpt = _gpt_decoder(model.gpt, cache.keys)
        if isinstance(gpt, CompiledDecoder):
            return CompiledMixtureDecoder(model, cache, gpt, gpt.steps)
        return MixtureDecoder(model, cache, gpt)
    return ordinary(model, cache)


def _gpt_decoder(model: GPTLanguageModel, cache: KVCache) -> Decode:
    if (compiled := _compiled(model)) is not None:
        return CompiledDecoder(model, cache, compiled)
    same_type = cache.k.dtype == model.token_embedding_table.weight.dtype  # numpy has no bfloat16
    return GPTDecoder(model, cache) if same_type else ordinary(model, cache)


def _compiled(model: GPTLanguageModel) -> CDLL | None:
    """The compiled steps, which compute in float32, where there is a compiler."""
    return library() if model.token_embedding_table.weight.dtype == torch.float32 else None


def ordinary(model: LanguageModel, cache: Cache) -> Decode:
    """The model's own forward pass: the slow twin of every other way."""

    def decode(ids: Sequence[int]) -> Tensor:
        idx = torch.tensor(ids, device=model.device)[:, None]  # (n, 1)
        return model(idx, cache=cache.rows(slice(len(ids)))).logits[:, -1].cpu()

    return decode
