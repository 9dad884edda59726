"""Fitting a mixture: dev decides, with counts that have not seen dev; validation is never looked at."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from clearhead.data.tokens import TokenDataset
from clearhead.errors import CorpusError
from clearhead.evaluation.ladder import fit_ngram
from clearhead.evaluation.loss import FULL_PRECISION, token_losses
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.kneser_ney import Float64
from clearhead.models.mixture import MixtureLanguageModel, buckets, table_shape
from clearhead.models.ngram import NgramLanguageModel
from clearhead.models.windows import Int64
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer

LEAST_DEV = 3
"""Dev tokens without which there are no two halves to try weights on."""
MOST_DEV = 1 << 17
"""Dev tokens that weights are fitted on, at most."""
PRIOR = 10.0
"""What the global weight counts for in every bucket, in tokens: a rare bucket stays near it, one without any has it."""
ROUNDS = 200
TOLERANCE = 1e-5


@dataclass(frozen=True)
class MixtureFit:
    """What dev said. Losses are nats per token over the same dev tokens.

    Those of mixtures are cross-validated: each half of dev is scored with the weights that the other half fitted.
    """

    weight: float
    """The one weight of the n-gram that fits all of dev best."""
    ngram: float
    """Loss of the n-gram alone, counted without dev."""
    gpt: float
    """Loss of the GPT alone."""
    one_weight: float
    """Loss of the mixture with one weight."""
    by_context: float
    """Loss of the mixture with a weight for each bucket."""
    tokens: int
    seconds: float
    """What counting and fitting took."""

    @property
    def uses_context(self) -> bool:
        """Whether the weights of buckets did better than one weight, and so are the mixture's."""
        return self.by_context < self.one_weight

    @property
    def note(self) -> str:
        """A rung's note."""
        return f"n-gram weight {self.weight:.2f}{', by context' if self.uses_context else ''}, fitted on dev"

    @property
    def summary(self) -> str:
        """A line with all figures."""
        return (
            f"mixture fitted on dev, nats per token: n-gram {self.ngram:.4f}, gpt {self.gpt:.4f}, "
            f"one weight ({self.weight:.2f}) {self.one_weight:.4f}, weights by context {self.by_context:.4f}"
        )


@dataclass(frozen=True)
class Scored:
    """The n tokens of a text, with the log-probabilities that both parts gave them and the bucket of each."""

    counted: Float64
    neural: Float64
    bucket: Int64

    def __len__(self) -> int:
        return len(self.bucket)

    def part(self, rows: slice) -> "Scored":
        """Some of the tokens."""
        return Scored(self.counted[rows], self.neural[rows], self.bucket[rows])

    def nats(self, weights: Float64) -> float:
        """The total loss with the n-gram's weight in each bucket."""
        weight = weights[self.bucket]
        with np.errstate(divide="ignore"):  # a weight of 0 or 1 leaves one part alone
            return -float(np.logaddexp(np.log(weight) + self.counted, np.log1p(-weight) + self.neural).sum())


def has_dev(data: TokenDataset) -> bool:
    """Whether a text has the dev split that a mixture is fitted on."""
    return len(data.ids("dev")) >= LEAST_DEV


def fit_mixture(
    gpt: GPTLanguageModel,
    data: TokenDataset,
    tokenizer: Tokenizer,
    runtime: Runtime = FULL_PRECISION,
    order: int | None = None,
) -> tuple[MixtureLanguageModel, MixtureFit]:
    """The mixture of a GPT with an n-gram of an order (default: dev's choice), and what dev said of it.

    The weights are fitted with counts of the text that the GPT was trained on; the n-gram of the mixture is then
    counted on dev, too. CorpusError when there is no dev split.
    """
    if not has_dev(data):
        raise CorpusError("the text is too short for a dev split, and a mixture is fitted on dev; give a longer text")
    begun = time.perf_counter()
    ngram, _ = fit_ngram(data, tokenizer, order)
    scored = _score(gpt, data, tokenizer, runtime, ngram.order)
    shape = table_shape(ngram.order)
    weight, table = fit_table(scored, math.prod(shape))
    one_weight, by_context = cross_validated(scored, math.prod(shape))
    fit = MixtureFit(
        weight=weight,
        ngram=-float(scored.counted.mean()),
        gpt=-float(scored.neural.mean()),
        one_weight=one_weight,
        by_context=by_context,
        tokens=len(scored),
        seconds=time.perf_counter() - begun,
    )
    weights = torch.from_numpy(table).view(shape) if fit.uses_context else weight
    return MixtureLanguageModel(ngram, gpt, weights), fit


def fit_weights(scored: Scored, size: int, centre: float = 0.5, strength: float = 0.0) -> Float64:
    """The n-gram's weight (size,) in each bucket that makes the tokens likeliest, by expectation-maximisation.

    A weight is the mean share that the n-gram has in the probability of its bucket's tokens (Dempster, Laird &
    Rubin 1977, section 4.3), together with `strength` tokens of share `centre`: a beta prior. Every round adds
    to the likelihood times the prior, and that has no maximum but one. Rounds end when nothing moves by 1e-5.
    """
    odds = np.exp(np.clip(scored.neural - scored.counted, -500, 500))  # of the GPT against the n-gram
    tokens = np.bincount(scored.bucket, minlength=size) + strength
    weights = np.full(size, centre)
    for _ in range(ROUNDS):
        weight = weights[scored.bucket]
        share = weight / (weight + (1 - weight) * odds)
        before, weights = weights, (np.bincount(scored.bucket, share, size) + strength * centre) / tokens
        if np.abs(weights - before).max() < TOLERANCE:
            break
    return weights


def fit_table(scored: Scored, size: int) -> tuple[float, Float64]:
    """One weight for all tokens, and the weights (size,) of buckets, drawn towards it where tokens are few."""
    together = replace(scored, bucket=np.zeros_like(scored.bucket))
    weight = float(fit_weights(together, 1)[0])
    return weight, fit_weights(scored, size, weight, PRIOR)


def cross_validated(scored: Scored, size: int) -> tuple[float, float]:
    """Nats per token with one weight and with those of buckets, each half scored by weights of the other half."""
    halves = slice(None, len(scored) // 2), slice(len(scored) // 2, None)
    one_weight = by_context = 0.0
    for fitted, judged in (halves, halves[::-1]):
        weight, table = fit_table(scored.part(fitted), size)
        one_weight += scored.part(judged).nats(np.full(size, weight))
        by_context += scored.part(judged).nats(table)
    return one_weight / len(scored), by_context / len(scored)


def _score(gpt: GPTLanguageModel, data: TokenDataset, tokenizer: Tokenizer, runtime: Runtime, order: int) -> Scored:
    """Dev tokens by the GPT and by an n-gram of the text that the GPT was trained on."""
    ngram = NgramLanguageModel.fit(data.ids("train"), tokenizer.vocab_size, order, eot_id=tokenizer.eot_id)
    neural = -token_losses(gpt, data, "dev", runtime, MOST_DEV).double().numpy()
    ids = data.ids("dev")[: len(neural) + 1]
    contexts = ngram.look_up(torch.from_numpy(ids[None, :-1].astype(np.int64)))
    return Scored(-ngram.token_losses(ids), neural, buckets(ngram.evidence(contexts)))
