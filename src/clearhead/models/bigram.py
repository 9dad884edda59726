"""The bigram model: the next token given the current one alone, as the lecture builds it.

Shapes: B rows, T positions, V vocabulary.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clearhead.errors import ConfigError
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output, cross_entropy
from clearhead.models.counting import count_levels
from clearhead.models.windows import Ids, Stream

UNSEEN = -30.0
"""Log-probability of a pair that was never seen, where smoothing leaves it none: finite, and nothing in a sum."""
ROW_CELLS = 1 << 22
"""Logits worked on in one go, where the whole table is read."""
SCORED = 1 << 21
"""Tokens scored in one go."""


class BigramLanguageModel(LanguageModel):
    """A table of V x V logits, one row per current token: trained by gradient, or set from counts.

    Its rows start as PyTorch draws embeddings, from normal(0, 1). ConfigError when vocab_size is below 1.
    """

    kind: ClassVar[str] = "bigram"
    context = 1

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        if vocab_size < 1:
            raise ConfigError(f"vocab_size={vocab_size} must be at least 1; use the tokenizer's")
        self.vocab_size = vocab_size
        self.token_embedding_table = nn.Embedding(vocab_size, vocab_size)

    @classmethod
    def from_counts(cls, ids: Stream, vocab_size: int, laplace: float = 1.0) -> Self:
        """The model whose table is set from the pairs of a stream of ids (N,); see `set_counts`."""
        model = cls(vocab_size)
        model.set_counts(ids, laplace)
        return model

    @torch.no_grad()
    def set_counts(self, ids: Stream, laplace: float = 1.0) -> None:
        """Set row a to log((n(a b) + laplace) / (n(a .) + laplace V)) for the pairs a b of a stream of ids (N,).

        With laplace 0 the rows are the text's own frequencies, the least loss that any bigram can have on it;
        pairs never seen then get the logit `UNSEEN`. Rows of tokens never seen are uniform. ConfigError when
        laplace is negative or not finite.

        >>> import numpy as np
        >>> model = BigramLanguageModel.from_counts(np.array([0, 1, 0, 1, 1]), 2, laplace=0)
        >>> [[round(p, 6) for p in row] for row in model.token_embedding_table.weight.exp().tolist()]
        [[0.0, 1.0], [0.5, 0.5]]
        """
        if not 0 <= laplace < float("inf"):
            raise ConfigError(f"laplace={laplace} must be 0 or more; the usual constant is 1")
        V, weight = self.vocab_size, self.token_embedding_table.weight
        pairs = count_levels(ids, V, 2, max_bytes=sys.maxsize)[1]
        places, counts = torch.from_numpy(pairs.keys), torch.from_numpy(pairs.raw).double()
        rows = places // V
        total = torch.zeros(V, dtype=torch.double).index_add_(0, rows, counts) + laplace * V
        unseen = (laplace / total).log().clamp(min=UNSEEN).nan_to_num(-math.log(V))  # 0 / 0 without any count
        weight.copy_(unseen[:, None].expand(V, V))
        weight.view(-1)[places.to(weight.device)] = ((counts + laplace) / total[rows]).log().to(weight)

    def token_losses(self, ids: Ids) -> npt.NDArray[np.float64]:
        """Loss in nats (N - 1,) of each of ids[1:] of a stream (N,): every row is normalised once, not per token."""
        weight = self.token_embedding_table.weight.detach()  # (V, V)
        parts = weight.split(max(1, ROW_CELLS // self.vocab_size))
        total = torch.cat([part.float().logsumexp(-1) for part in parts])
        losses = np.empty(max(0, len(ids) - 1))
        for start in range(0, len(losses), SCORED):
            idx = torch.from_numpy(ids[start : start + SCORED + 1].astype(np.int64)).to(weight.device)
            losses[start : start + SCORED] = (total[idx[:-1]] - weight[idx[:-1], idx[1:]]).cpu().numpy()
        return losses

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Row idx[b, t] of the table is the logits (B, T, V); a cache only counts what went by."""
        if cache is not None:
            assert isinstance(cache, HistoryCache)
            cache.extend(idx)
        logits = self.token_embedding_table(idx)  # (B, T) -> (B, T, V)
        return Output(logits, None if targets is None else cross_entropy(logits, targets))

    def new_cache(self, slots: int) -> HistoryCache:
        """An empty cache for `slots` rows."""
        return HistoryCache(slots, self.context, self.device)

    def to_config(self) -> dict[str, Any]:
        """The size of the vocabulary."""
        return {"vocab_size": self.vocab_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A model of that size with random rows."""
        return cls(**config)


def laplace_losses(ids: Stream, dev: Stream, vocab_size: int, constants: Sequence[float]) -> list[float]:
    """Nats per token of the stream dev (M,) by the table of `set_counts` with each constant; no table is made.

    >>> [round(loss, 4) for loss in laplace_losses(np.array([0, 1, 0, 1, 1]), np.array([0, 1, 0]), 2, [1.0, 0.1])]
    [0.4904, 0.3698]
    """
    pairs = count_levels(ids, vocab_size, 2, max_bytes=sys.maxsize)[1]
    total = np.bincount(pairs.keys // vocab_size, pairs.raw, minlength=vocab_size)
    seen, nats = np.append(pairs.raw, 0), np.zeros(len(constants))
    for start in range(0, len(dev) - 1, SCORED):
        tokens = dev[start : start + SCORED + 1].astype(np.int64)
        before, counts = total[tokens[:-1]], seen[pairs.find(tokens[:-1], tokens[1:])]  # the last is for -1, never seen
        nats += [np.log((before + c * vocab_size) / (counts + c)).sum() for c in constants]
    return (nats / max(1, len(dev) - 1)).tolist()
