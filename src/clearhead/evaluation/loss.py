"""Two figures of loss: the lecture's quick estimate, and the full split that is compared."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.config import UNKNOWN_BITS
from clearhead.data.tokens import TokenDataset
from clearhead.models.base import LanguageModel, evaluating
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


def estimate_loss(
    model: LanguageModel,
    get_batch: GetBatch,
    eval_iters: int,
    splits: Sequence[str] = ("train", "val"),
    runtime: Runtime = FULL_PRECISION,
    parts: int = 1,
) -> dict[str, float]:
    """The lecture's estimate: mean loss in nats per token over `eval_iters` random batches of each split.

    `get_batch(split, k)` gives batch k; it owns its random stream, so that estimating never moves training. Each is
    computed in as many `parts` as a training step's, where that is what memory holds.
    """
    losses = {}
    with evaluating(model):
        for split in splits:
            total = 0.0
            for k in range(eval_iters):
                batch = get_batch(split, k)
                for x, y in zip(*(ids.tensor_split(min(parts, len(ids))) for ids in batch), strict=True):
                    with runtime.autocast():
                        _, loss = model(x, y)
                    assert loss is not None
                    total += float(loss) * len(x) / len(batch[0])
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

    A model with a `block_size` sees non-overlapping windows of it, and of the tokens before each window as many as
    it looks back to; any other sees all the text before. A hidden character costs a further 21 bits, so no
    tokenizer gains by not knowing; `nats_per_token` is the model's own loss, without them.
    """
    losses = token_losses(model, data, split, runtime, max_tokens)
    return measured(float(losses.double().sum()), data, split, len(losses))


def token_losses(
    model: LanguageModel,
    data: TokenDataset,
    split: str = "val",
    runtime: Runtime = FULL_PRECISION,
    max_tokens: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> Tensor:
    """Loss in nats (n,) float32 on the CPU of each target of a split, in order; see `split_loss`.

    With `max_tokens`, of the first that many, rounded up to a whole call of the model. With `part` (k, n), of every
    n-th call, from call k on; where a call needs what those before it left, all of them are part 0. Else all parts
    make as many calls, though one may be for nothing: the ranks of a sharded model make theirs together.
    """
    # Written into one place: small tensors that stay would lie between the freed logits, and the heap only grow.
    found, end = torch.empty(max(0, len(data.ids(split)) - 1)), 0
    with evaluating(model), runtime.autocast():
        for losses in _losses_by_call(model, data, split, max_tokens, part):
            found[end : end + losses.numel()] = losses.flatten()
            end += losses.numel()
            if max_tokens is not None and end >= max_tokens:
                break
    return found[:end]


def measured(nats: float, data: TokenDataset, split: str, tokens: int | None = None) -> SplitLoss:
    """A total of nats over the first `tokens` targets of a split (default: all), in the units compared."""
    every = len(data.ids(split)) - 1
    tokens = every if tokens is None else tokens
    share = tokens / max(1, every)
    characters = data.meta.characters[split] * share
    bits = nats / math.log(2) + UNKNOWN_BITS * data.meta.hidden[split] * share
    return SplitLoss(nats / max(1, tokens), bits / max(1, characters), tokens, round(characters))


def tokens_per_call(model: LanguageModel) -> int:
    """Tokens of one forward pass without gradients that neither idle the machine nor fill its memory."""
    return max(1, min(TOKENS_PER_CALL, LOGITS_PER_CALL // model.vocab_size))


def _losses_by_call(
    model: LanguageModel, data: TokenDataset, split: str, max_tokens: int | None, part: tuple[int, int]
) -> Iterator[Tensor]:
    """Loss in nats of each target of a split, in order, a tensor for each call of the model that is in the part."""
    per_call, known = tokens_per_call(model), model.token_losses(data.ids(split))
    if known is None and model.block_size is not None:
        calls = _first(_windows_after(data, split, model.block_size, per_call, model.lookback), max_tokens)
        while dealt := list(islice(calls, part[1])):
            before, x, y = dealt[min(part[0], len(dealt) - 1)]
            cache = model.cache_after(before.to(model.device)) if model.lookback else None
            losses = _losses(model(x.to(model.device), cache=cache).logits, y.to(model.device))
            if part[0] < len(dealt):
                yield losses
    elif part[0] == 0:
        yield from (
            _losses_in_order(model, data, split, per_call) if known is None else [torch.from_numpy(known).float()]
        )


def _losses_in_order(model: LanguageModel, data: TokenDataset, split: str, per_call: int) -> Iterator[Tensor]:
    """As above, of a model that sees all the text before."""
    cache = model.new_cache(1)
    ids = torch.from_numpy(data.ids(split).astype("int64"))[None]
    for start in range(0, ids.shape[1] - 1, per_call):
        x = ids[:, start : min(start + per_call, ids.shape[1] - 1)].to(model.device)
        y = ids[:, start + 1 : start + 1 + x.shape[1]].to(model.device)
        yield _losses(model(x, cache=cache).logits, y)


def _first(
    calls: Iterator[tuple[Tensor, Tensor, Tensor]], max_tokens: int | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The first calls that together hold so many targets."""
    left = math.inf if max_tokens is None else max_tokens
    for before, x, y in calls:
        yield before, x, y
        left -= y.numel()
        if left <= 0:
            return


def _windows_after(
    data: TokenDataset, split: str, block_size: int, per_call: int, lookback: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """before (B, L), x, y (B, T): non-overlapping windows in order, with the L tokens before each.

    L is `lookback`, less in windows near the beginning of the split, which come one by one for that.
    """
    ids, start = data.ids(split), 0
    for x, y in data.windows(split, block_size, max(1, per_call // block_size)):
        starts = start + block_size * np.arange(len(x))
        start += x.numel()
        near = int(np.searchsorted(starts, lookback))
        for rows in [*(slice(row, row + 1) for row in range(near)), slice(near, len(x))]:
            if len(first := starts[rows]):
                back = np.arange(-min(lookback, int(first[0])), 0)
                yield torch.from_numpy(ids[first[:, None] + back].astype("int64")), x[rows], y[rows]


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss in nats (B, T) of logits (B, T, V) against targets (B, T)."""
    flat = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return flat.view(targets.shape)
