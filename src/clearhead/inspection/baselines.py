"""What counting alone makes of a text: the models beside which a model's loss means something."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import LARGEST_TABLE, fit_bigram, fit_ngram
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.models.base import LanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.base import Ids, Tokenizer

Floats = npt.NDArray[np.float64]
COUNTED = ("unigram", "bigram", "ngram")


@dataclass(frozen=True)
class Baselines:
    """Models counted on all training text, those of the ladder."""

    bigram: LanguageModel
    ngram: NgramLanguageModel
    notes: tuple[str, ...]

    def losses(self, ids: Ids) -> dict[str, Floats]:
        """Nats (N - 1,) of each of ids[1:] of a stream (N,), by name of `COUNTED`."""
        models = (self.ngram.to_order(1), self.bigram, self.ngram)
        return {name: stream_losses(model, ids) for name, model in zip(COUNTED, models, strict=True)}


def count_baselines(
    data: TokenDataset, tokenizer: Tokenizer, model: LanguageModel, mixture: MixtureLanguageModel | None
) -> Baselines:
    """The counted bigram and n-gram; the n-gram is the model itself or the mixture's, where there is one."""
    ngram = model if isinstance(model, NgramLanguageModel) else mixture.ngram if mixture else None
    if ngram is None:
        ngram = fit_ngram(data, tokenizer).model
    said = f"n-gram: Kneser-Ney, order {ngram.order}"
    if tokenizer.vocab_size > LARGEST_TABLE:
        return Baselines(ngram.to_order(min(2, ngram.order)), ngram, (f"bigram: Kneser-Ney, order 2; {said}",))
    with torch.random.fork_rng(devices=[]):  # a fresh table draws numbers before it is set: it moves nobody's
        table, laplace = fit_bigram(data, tokenizer)
    return Baselines(table, ngram, (f"counted on the training text; bigram: counts, Laplace {laplace:g}; {said}",))


def stream_losses(model: LanguageModel, ids: Ids) -> Floats:
    """Nats (N - 1,) of each of ids[1:] of a stream (N,), by a model that any number of tokens may precede."""
    if (known := model.token_losses(ids)) is not None:
        return known
    stream, cache, step = torch.from_numpy(ids.astype(np.int64))[None], model.new_cache(1), tokens_per_call(model)
    parts = [np.zeros(0)]
    with evaluating(model):
        for start in range(0, len(ids) - 1, step):
            x = stream[:, start : min(start + step, len(ids) - 1)].to(model.device)
            y = stream[:, start + 1 : start + 1 + x.shape[1]].to(model.device)
            logits = model(x, cache=cache).logits
            parts.append(F.cross_entropy(logits[0].float(), y[0], reduction="none").cpu().double().numpy())
    return np.concatenate(parts)


def standard_error(values: Floats) -> float:
    """Of the mean of values (n,) that are taken as independent; 0 for fewer than two."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
