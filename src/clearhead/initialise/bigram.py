"""Where the bigram's table of logits begins."""

import math

import numpy as np
import numpy.typing as npt
import torch

from clearhead.errors import ConfigError
from clearhead.models.bigram import BigramLanguageModel

_STDS = {"zeros": 0.0, "small_normal": 0.01, "normal": 1.0}
BIGRAM_NAMES = (*_STDS, "counts")


def initialise_bigram(
    model: BigramLanguageModel, name: str, generator: torch.Generator, ids: npt.NDArray[np.integer] | None
) -> None:
    """Fill the table (V, V) with normal numbers of the named width, or from the counts of ids."""
    if name != "counts":
        table = model.token_embedding_table.weight
        table.copy_(torch.empty(table.shape).normal_(generator=generator) * _STDS[name])
    elif ids is None:
        raise ConfigError("init 'counts' needs the training text's token ids; pass ids, or choose init 'normal'")
    else:
        model.set_counts(ids)


def bigram_first_loss(model: BigramLanguageModel, name: str) -> float | None:
    """ln V + s^2 / 2 for logits N(0, s^2): exp(logit) has the mean exp(s^2 / 2), the target's logit 0."""
    return None if name == "counts" else math.log(model.vocab_size) + _STDS[name] ** 2 / 2
