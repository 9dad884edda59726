"""What a model would have said to each token of a text, had it written it itself."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clearhead.generation.batch import window_start
from clearhead.models.base import LanguageModel, evaluating

TOKENS_PER_CALL = 256
"""Of a model without windows."""


def score_windows(model: LanguageModel, ids: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yield (position, log-probabilities (k, V) float64 on the CPU) for the tokens ids[position : position + k].

    Every token but the first is scored, in order, in as many calls as there are windows. What the model sees before
    a token is what it sees when it draws there: the overflow rule of `window_start`.
    """
    yield from _windows(model, ids) if model.block_size is not None else _stretches(model, ids)


def _windows(model: LanguageModel, ids: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    assert model.block_size is not None
    at = 1
    while at < len(ids):
        start = window_start(at, model.block_size)
        end = min(start + model.block_size + 1, len(ids))  # the first position that this window does not predict
        before = torch.tensor([ids[max(0, start - model.lookback) : start]], dtype=torch.long, device=model.device)
        with evaluating(model):
            cache = model.cache_after(before) if before.shape[1] else None
            logits = model(torch.tensor([ids[start : end - 1]], device=model.device), cache=cache).logits[0]
        yield at, logits[at - 1 - start :].double().log_softmax(-1).cpu()
        at = end


def _stretches(model: LanguageModel, ids: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    cache = model.new_cache(1)
    for start in range(0, len(ids) - 1, TOKENS_PER_CALL):
        part = torch.tensor([ids[start : min(start + TOKENS_PER_CALL, len(ids) - 1)]], device=model.device)
        with evaluating(model):
            logits = model(part, cache=cache).logits[0]
        yield start + 1, logits.double().log_softmax(-1).cpu()
