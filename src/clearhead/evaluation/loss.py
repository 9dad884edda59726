"""Two figures of loss: the lecture's quick estimate, and the full split that is compared."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.config import UNKNOWN_BITS
from clearhead.data.tokens import TokenDataset
from clearhead.models.base import LanguageModel
from clearhead.runtime import Runtime

GetBatch = Callable[[str, int], tuple[Tensor, Tensor]]
"""(split, number) -> x, y (B, T)."""

FULL_PRECISION = Runtime("cpu", "float32")
TOKENS_PER_CALL = 8_192
LOGITS_PER_CALL = 1 << 24
"""Bounds on one forward pass of a full-split loss, so that a large vocabulary does not need gigabytes."""


@dataclass(frozen=True)
class SplitLoss:
    """The loss over every token of a split but the first."""

    nats_per_token: float
    bits_per_char: float
    """All bits, those of separators and hidden characters too, over the characters of the documents."""
    tokens: int
    characters: int


@contextmanager
def evaluating(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode without gradients inside, the mode of before outside."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def estimate_loss(
    model: LanguageModel,
    get_batch: GetBatch,
    eval_iters: int,
    splits: Sequence[str] = ("train", "val"),
    runtime: Runtime = FULL_PRECISION,
) -> dict[str, float]:
    """The lecture's estimate: mean loss in nats per token over `eval_iters` random batches of each split.

    `get_batch(split, k)` gives batch k; it owns its random stream, so that estimating never moves training.
    """
    losses = {}
    with evaluating(model):
        for split in splits:
            total = 0.0
            for k in range(eval_iters):
                x, y = get_batch(split, k)
                with runtime.autocast():
                    _, loss = model(x, y)
                assert loss is not None
                total += float(loss)
            losses[split] = total / eval_iters
    return losses


def split_loss(
    model: LanguageModel,
    data: TokenDataset,
    split: str = "val",
    runtime: Runtime = FULL_PRECISION,
    max_tokens: int | None = None,
) -> SplitLoss:
    """The loss over a whole split, or over its first `max_tokens`.

    A model with a `block_size` sees non-overlapping windows of it; any other sees all the text before.
    A hidden character costs a further 21 bits, so no tokenizer gains by not knowing; `nats_per_token` is the
    model's own loss, without them.
    """
    nats, tokens = 0.0, 0
    with evaluating(model), runtime.autocast():
        for losses in _token_losses(model, data, split):
            nats += float(losses.double().sum())
            tokens += losses.numel()
            if max_tokens is not None and tokens >= max_tokens:
                break
    return measured(nats, data, split, tokens)


def measured(nats: float, data: TokenDataset, split: str, tokens: int | None = None) -> SplitLoss:
    """A total of nats over the first `tokens` targets of a split (default: all), in the units compared."""
    every = len(data.ids(split)) - 1
    tokens = every if tokens is None else tokens
    share = tokens / max(1, every)
    characters = data.meta.characters[split] * share
    bits = nats / math.log(2) + UNKNOWN_BITS * data.meta.hidden[split] * share
    return SplitLoss(nats / max(1, tokens), bits / max(1, characters), tokens, round(characters))


def _token_losses(model: LanguageModel, data: TokenDataset, split: str) -> Iterator[Tensor]:
    """Loss in nats of each target of a split, in order, a tensor for each call of the model."""
    per_call = max(1, min(TOKENS_PER_CALL, LOGITS_PER_CALL // model.vocab_size))
    if model.block_size is None:
        cache = model.new_cache(1)
        ids = torch.from_numpy(data.ids(split).astype("int64"))[None]
        for start in range(0, ids.shape[1] - 1, per_call):
            x = ids[:, start : min(start + per_call, ids.shape[1] - 1)].to(model.device)
            y = ids[:, start + 1 : start + 1 + x.shape[1]].to(model.device)
            yield _losses(model(x, cache=cache).logits, y)
        return
    for x, y in data.windows(split, model.block_size, max(1, per_call // model.block_size)):
        yield _losses(model(x.to(model.device)).logits, y.to(model.device))


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss in nats (B, T) of logits (B, T, V) against targets (B, T)."""
    flat = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return flat.view(targets.shape)
