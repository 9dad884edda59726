"""The n-gram model: what followed the last tokens in the training text, smoothed by modified Kneser-Ney.

Shapes: B rows, T positions, L positions with their history, V vocabulary. All work is numpy's, in main memory.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from clearhead.errors import CheckpointError, ConfigError, CorpusError
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output, cross_entropy
from clearhead.models.counting import MAX_BYTES, Level, check_ids, count_levels, levels_from_arrays, named_arrays
from clearhead.models.kneser_ney import Estimate, Float64
from clearhead.models.windows import Ids, Int64, Stream

ROW_CELLS = 1 << 20
"""Probabilities worked on in one go: bounds the memory of a forward pass beside its logits."""
SCORED = 1 << 18
"""Tokens scored in one go."""


class Contexts(NamedTuple):
    """What stands before the tokens to predict, looked up at n positions."""

    ids: list[Int64]
    """For each length 0 .. order - 1 the ids (n,) of the contexts, -1 for one that was never seen."""
    usable: Int64
    """(n,) how many tokens may be looked at."""


class NgramLanguageModel(LanguageModel):
    """Interpolated modified Kneser-Ney of an order: the next token given the last `order - 1`.

    Nothing before the latest end-of-text is looked at. Where fewer tokens precede than the order wants, the
    estimate is that of the order that fits, with raw counts at its top. New models know no text: all tokens are
    equally likely. ConfigError when order or vocab_size is below 1.
    """

    kind: ClassVar[str] = "ngram"

    def __init__(self, order: int, vocab_size: int, eot_id: int | None = None) -> None:
        super().__init__()
        if order < 1 or vocab_size < 1:
            raise ConfigError(f"order={order} and vocab_size={vocab_size} must be at least 1; try order=5")
        if eot_id is not None and not 0 <= eot_id < vocab_size:
            raise ConfigError(f"eot_id={eot_id} is outside a vocabulary of {vocab_size}; use one of its ids or None")
        self.order, self.vocab_size, self.eot_id = order, vocab_size, eot_id
        self.context = order - 1
        self._hold(count_levels(np.zeros(0, dtype=np.uint16), vocab_size, order))

    @classmethod
    def fit(
        cls, ids: Stream, vocab_size: int, order: int, *, eot_id: int | None = None, max_bytes: int = MAX_BYTES
    ) -> Self:
        """Count a stream of ids (N,); documents begin with `eot_id`: eot d1 eot d2 ...

        The model's `order` is lower than asked where the tables of more would pass `max_bytes`.
        """
        cls(order, vocab_size, eot_id)  # the settings are checked before the work
        levels = count_levels(ids, vocab_size, order, eot_id=eot_id, max_bytes=max_bytes)
        return cls._of(levels, vocab_size, eot_id)

    @classmethod
    def _of(cls, levels: list[Level], vocab_size: int, eot_id: int | None) -> Self:
        model = cls(len(levels), vocab_size, eot_id)
        model._hold(levels)
        return model

    def _hold(self, levels: list[Level]) -> None:
        """Take over tables; the buffers share their memory."""
        self.levels = levels
        self.tops = [Estimate(level, level.raw) for level in levels]
        self.lowers = [Estimate(level, level.continuation) for level in levels[:-1]]
        for name, array in named_arrays(levels).items():
            self.register_buffer(name, torch.from_numpy(array))

    def to_order(self, order: int) -> "NgramLanguageModel":
        """The model of a lower order on the same tables; ConfigError when it is not within 1 .. order."""
        if not 1 <= order <= self.order:
            raise ConfigError(f"order={order} is outside 1 .. {self.order}; fit a model of that order")
        return type(self)._of(self.levels[:order], self.vocab_size, self.eot_id)

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Log-probabilities (B, T, V) float32 after each of idx (B, T); a row knows only itself and its cache."""
        logits = self.log_probabilities(self.look_up(idx, cache)).view(*idx.shape, -1).to(idx.device)
        return Output(logits, None if targets is None else cross_entropy(logits, targets))

    def look_up(self, idx: Tensor, cache: Cache | None = None) -> Contexts:
        """The contexts at the positions of idx (B, T), row by row, n = B T; a cache is read and extended."""
        B, T = idx.shape
        known, first = idx, np.zeros(B, dtype=np.int64)
        if cache is not None:
            assert isinstance(cache, HistoryCache)
            history, lengths = cache.extend(idx)
            known = torch.cat([history, idx], dim=1)
            first = np.maximum(history.shape[1] - lengths.cpu().numpy(), 0)
        tokens = known.cpu().numpy()
        new = slice(tokens.shape[1] - T, None)
        usable = self._usable(tokens, first)[:, new].reshape(-1)
        return Contexts([ids[:, new].reshape(-1) for ids in self._ngram_ids(tokens, self.order - 1)], usable)

    def log_probabilities(self, contexts: Contexts) -> Tensor:
        """Log-probabilities (n, V) float32 of the token after each of n contexts."""
        n = len(contexts.usable)
        logits = torch.empty(n, self.vocab_size)
        step = max(1, ROW_CELLS // self.vocab_size)
        for start in range(0, n, step):
            part = slice(start, start + step)
            rows = self._rows([ids[part] for ids in contexts.ids], contexts.usable[part])
            logits[part] = torch.from_numpy(np.log(rows, out=rows))
        return logits

    def times_seen(self, contexts: Contexts) -> Int64:
        """How often (n,) the longest context that was ever followed by anything occurs in the counted text, at each
        of n positions; 0 where there is none."""
        seen = np.zeros(len(contexts.usable), dtype=np.int64)
        for length in range(1, self.order):
            ids = contexts.ids[length]
            at = np.flatnonzero(self.tops[length].followed(ids) & (contexts.usable >= length))
            seen[at] = self.levels[length - 1].raw[ids[at]]
        return seen

    def token_losses(self, ids: Ids) -> Float64:
        """Loss in nats (N - 1,) of each of ids[1:] of a stream (N,), given all that precedes it."""
        losses, end = np.empty(max(0, len(ids) - 1)), 0
        for by_order in self._target_probabilities(ids):
            losses[end : end + by_order.shape[1]] = -np.log(by_order[-1])
            end += by_order.shape[1]
        return losses

    def order_losses(self, ids: Stream) -> list[float]:
        """Mean loss in nats per token of ids[1:] for each of the orders 1 .. order."""
        nats = np.zeros(self.order)
        for by_order in self._target_probabilities(ids):
            nats -= np.log(by_order).sum(axis=1)
        return (nats / max(1, len(ids) - 1)).tolist()

    def _usable(self, tokens: Int64, first: Int64) -> Int64:
        """How many of the tokens (B, L) up to each position can be looked at: back to column `first` (B,) of the
        row and to the latest end-of-text, itself included; at most order - 1."""
        columns = np.arange(tokens.shape[1])
        begin = np.broadcast_to(first[:, None], tokens.shape)
        if self.eot_id is not None:
            begin = np.maximum.accumulate(np.maximum(begin, np.where(tokens == self.eot_id, columns, 0)), axis=1)
        return np.clip(columns + 1 - begin, 0, self.order - 1)

    def _ngram_ids(self, tokens: Int64, longest: int) -> list[Int64]:
        """For k = 0 .. longest the ids (B, L) of the n-grams of length k that end at each of tokens (B, L), -1
        where the n-gram was never seen or reaches out of the row."""
        check_ids(tokens, self.vocab_size)
        ids = [np.zeros(tokens.shape, dtype=np.int64)]
        for level in self.levels[:longest]:
            contexts = np.full(tokens.shape, -1, dtype=np.int64)
            contexts[:, 1:] = ids[-1][:, :-1]
            contexts[:, :1] = 0 if len(ids) == 1 else -1
            ids.append(level.find(contexts, tokens))
        return ids

    def _unigram(self) -> tuple[Float64, Float64]:
        """Probabilities (V,) of tokens by the order 1, and as the floor of higher orders."""
        rows = np.full((2, self.vocab_size), 1 / self.vocab_size)
        for row, estimate in enumerate((self.tops[0], self.lowers[0] if self.lowers else self.tops[0])):
            estimate.interpolate_rows(rows, np.array([row]), np.array([0]))
        return rows[0], rows[1]

    def floor(self) -> Float64:
        """Probabilities (V,) of tokens whatever precedes, which higher orders fall back on."""
        return self._unigram()[1]

    def _rows(self, contexts: list[Int64], usable: Int64) -> Float64:
        """Distributions (n, V) at n positions, from the ids (n,) of their contexts of length 0 .. order - 1."""
        rows = np.tile(self.floor(), (len(usable), 1))
        for k in range(2, self.order + 1):
            length = k - 1
            known = self.tops[length].followed(contexts[length])
            top = np.flatnonzero(known & (usable == length))
            self.tops[length].interpolate_rows(rows, top, contexts[length][top])
            if k < self.order:
                lower = np.flatnonzero(known & (usable > length))
                self.lowers[length].interpolate_rows(rows, lower, contexts[length][lower])
        return rows

    def _target_probabilities(self, ids: Stream) -> Iterator[Float64]:
        """Probabilities (order, n) of ids[1:] by each of the orders, some targets at a time."""
        back = max(1, self.order - 1)
        for start in range(1, len(ids), SCORED):
            tokens = ids[max(0, start - back) : start + SCORED].astype(np.int64)[None]
            at = min(start, back)
            usable = self._usable(tokens, np.zeros(1, dtype=np.int64))[0, at - 1 : -1]
            ngrams = [found[0] for found in self._ngram_ids(tokens, self.order)]
            yield self._climb([found[at - 1 : -1] for found in ngrams[:-1]], [found[at:] for found in ngrams], usable)

    def _climb(self, contexts: list[Int64], found: list[Int64], usable: Int64) -> Float64:
        """Probabilities (order, n) by each order k of n-grams found[k] (n,) after contexts[k - 1] (n,)."""
        first, floor = (row[found[1]] for row in self._unigram())
        by_order = [first]
        for length in range(1, self.order):
            known = np.flatnonzero(self.tops[length].followed(contexts[length]))
            step = contexts[length][known], found[length + 1][known]
            top = np.where(usable >= length, floor, by_order[-1])
            top[known] = self.tops[length].interpolate(floor[known], *step)
            by_order.append(top)
            if length < self.order - 1:
                floor[known] = self.lowers[length].interpolate(floor[known], *step)
        return np.stack(by_order)

    def new_cache(self, slots: int) -> HistoryCache:
        """An empty cache for `slots` rows."""
        return HistoryCache(slots, self.context)

    def to_config(self) -> dict[str, Any]:
        """Order, vocabulary and end-of-text."""
        return {"order": self.order, "vocab_size": self.vocab_size, "eot_id": self.eot_id}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A model of that shape that knows no text."""
        return cls(**config)

    @classmethod
    def restore(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The model with the tables of a checkpoint; CheckpointError when they are not those of its description.

        Their sizes are compared before memory is taken: a file may claim any vocabulary and order.
        """
        found = {"order": sum(name.startswith("raw_") for name in tensors)}
        found["vocab_size"] = tensors["raw_1"].numel() if "raw_1" in tensors else 0
        for name, size in found.items():
            if config[name] != size:
                raise CheckpointError(
                    f"the n-gram tables are of {name}={size}, not {config[name]}; count the text again"
                )
        model = cls.from_config(config)
        model.load_state_dict(tensors)
        return model

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Take over the tables of a checkpoint; CheckpointError when they contradict themselves or the order."""
        mine = {name: tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
        arrays = {name.removeprefix(prefix): tensor.cpu().numpy() for name, tensor in mine.items()}
        self._hold(levels_from_arrays(arrays, self.vocab_size, self.order))

    def num_parameters(self) -> int:
        """The number of n-grams in the tables, over all lengths."""
        return sum(len(level) for level in self.levels)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Nothing: the tables are searched by numpy, so they stay in main memory whatever the device."""
        return self


def choose_order(
    fit_ids: Stream,
    dev_ids: Stream,
    vocab_size: int,
    *,
    eot_id: int | None = None,
    max_order: int = 10,
    max_bytes: int = MAX_BYTES,
) -> tuple[int, list[float]]:
    """The order that fits dev text (M,) best after counting fit text (N,), and the dev loss in nats per token of each
    of the orders 1, 2, ... that were tried: to `max_order`, fewer where their tables would pass `max_bytes`.

    CorpusError when dev holds no target, M < 2.
    """
    if len(dev_ids) < 2:
        raise CorpusError(f"a dev text of {len(dev_ids)} tokens cannot choose an order; name one, for example 5")
    model = NgramLanguageModel.fit(fit_ids, vocab_size, max_order, eot_id=eot_id, max_bytes=max_bytes)
    losses = model.order_losses(dev_ids)
    return 1 + losses.index(min(losses)), losses
