"""The mixture: the probabilities of a counted n-gram and of a GPT, averaged by what the counts know at each position.

Shapes: B rows, T positions, V vocabulary, n = B T.
"""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from clearhead.errors import ConfigError
from clearhead.models.attention import KVCache
from clearhead.models.base import Cache, HistoryCache, LanguageModel, Output, cross_entropy
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.ngram import Evidence, NgramLanguageModel
from clearhead.models.windows import Int64

SEEN_FROM = (2, 4, 16, 64)
"""Counts of a context at which a new class of them begins."""
FOLLOWERS_FROM = (2, 3, 5, 9)
"""Numbers of different tokens behind a context at which a new class begins."""


def table_shape(order: int) -> tuple[int, int, int]:
    """The shape of the weights beside an n-gram of an order: length matched, class of counts, class of followers."""
    return order, len(SEEN_FROM) + 1, len(FOLLOWERS_FROM) + 1


def buckets(evidence: Evidence) -> Int64:
    """Where each of n positions finds its weight in the flattened table: (n,).

    >>> buckets(Evidence(matched=np.array([0, 2]), seen=np.array([0, 3]), followers=np.array([0, 1]))).tolist()
    [0, 55]
    """
    seen = np.searchsorted(SEEN_FROM, evidence.seen, side="right")
    followers = np.searchsorted(FOLLOWERS_FROM, evidence.followers, side="right")
    _, counts, varieties = table_shape(0)
    return (evidence.matched * counts + seen) * varieties + followers


class MixtureCache(Cache):
    """The GPT's keys and values, and the n-gram's history, which reaches back beyond the GPT's window."""

    def __init__(self, keys: KVCache, history: HistoryCache) -> None:
        self.keys, self.history = keys, history
        self.lengths = keys.lengths  # the same tensor: a row is as long as the window that the GPT has read

    def rows(self, index: slice) -> "MixtureCache":
        """A view of some rows; what is written through it is written here."""
        return MixtureCache(self.keys.rows(index), self.history.rows(index))

    def reset(self) -> None:
        """Forget everything, what preceded the window too."""
        self.keys.reset()
        self.history.reset()

    def precede(self, idx: Tensor) -> None:
        """Tell the n-gram of the tokens idx (B, T) before the window."""
        self.history.precede(idx)


class MixtureLanguageModel(LanguageModel):
    """p(w) = a p_ngram(w) + (1 - a) p_gpt(w), linear interpolation (Jelinek & Mercer 1980).

    The weight a of a position depends on the longest context that the n-gram has ever seen continued there: on its
    length, on how often it was seen and on how many different tokens followed (`table_shape`, `buckets`). One
    number for `weights` is one weight for all. ConfigError when the vocabularies differ, or when weights have
    another shape or leave 0 .. 1.
    """

    kind: ClassVar[str] = "mixture"
    weights: Tensor
    """Of the n-gram, of shape `table_shape`."""

    def __init__(self, ngram: NgramLanguageModel, gpt: GPTLanguageModel, weights: Tensor | float) -> None:
        super().__init__()
        if ngram.vocab_size != gpt.vocab_size:
            raise ConfigError(
                f"an n-gram of {ngram.vocab_size} tokens and a GPT of {gpt.vocab_size} cannot be mixed; "
                "fit both with the same tokenizer"
            )
        shape = table_shape(ngram.order)
        table = torch.as_tensor(weights, dtype=torch.float32, device=gpt.device)
        if table.ndim and table.shape != shape:
            raise ConfigError(
                f"weights of shape {tuple(table.shape)} do not fit an n-gram of order {ngram.order}; {shape}"
            )
        if not bool(((table >= 0) & (table <= 1)).all()):
            raise ConfigError("weights outside 0 .. 1 mix no probabilities; fit them again")
        self.ngram, self.gpt = ngram, gpt
        self.vocab_size, self.block_size = gpt.vocab_size, gpt.block_size
        self.context, self.lookback = max(ngram.context, gpt.context), ngram.context
        self.register_buffer("weights", table.expand(shape).clone())

    def forward(self, idx: Tensor, targets: Tensor | None = None, cache: Cache | None = None) -> Output:
        """Log-probabilities (B, T, V) after each of idx (B, T), and the loss; ConfigError when T exceeds block_size.

        Without a cache nothing precedes idx. With one, the n-gram sees what the cache was told by `precede`, too.
        """
        assert cache is None or isinstance(cache, MixtureCache), "a cache comes from this model's new_cache"
        keys, history = (None, None) if cache is None else (cache.keys, cache.history)
        neural = self.gpt(idx, cache=keys).logits  # (B, T, V)
        neural = neural.to(torch.promote_types(neural.dtype, torch.float32)).log_softmax(-1)
        contexts = self.ngram.look_up(idx.cpu(), history)
        counted = self.ngram.log_probabilities(contexts).view(neural.shape).to(neural.device)
        index = torch.from_numpy(buckets(self.ngram.evidence(contexts))).to(self.weights.device)
        weight = self.weights.flatten()[index].view(*idx.shape, 1)  # (B, T, 1)
        logits = torch.logaddexp(weight.log() + counted, (-weight).log1p() + neural)
        return Output(logits, None if targets is None else cross_entropy(logits, targets))

    def new_cache(self, slots: int) -> MixtureCache:
        """An empty cache for `slots` rows."""
        return MixtureCache(self.gpt.new_cache(slots), self.ngram.new_cache(slots))

    def to_config(self) -> dict[str, Any]:
        """What describes both parts."""
        return {"ngram": self.ngram.to_config(), "gpt": self.gpt.to_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A mixture of that shape, half and half, of parts that know no text."""
        ngram, gpt = NgramLanguageModel.from_config(config["ngram"]), GPTLanguageModel.from_config(config["gpt"])
        return cls(ngram, gpt, 0.5)

    def num_parameters(self) -> int:
        """Those of both parts: n-grams counted and weights trained."""
        return self.ngram.num_parameters() + self.gpt.num_parameters()
