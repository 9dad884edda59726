"""Initialisations by name, for each kind of model, and the loss that each one starts from.

Numbers are drawn in float32 on the CPU from a stream of their own: one seed is one start, on every device and
in every precision, and nothing else that is random moves.
"""

import numpy as np
import numpy.typing as npt
import torch

from clearhead.config import PRESET_INIT
from clearhead.errors import ConfigError, did_you_mean
from clearhead.initialise.bigram import BIGRAM_NAMES, bigram_first_loss, initialise_bigram
from clearhead.initialise.gpt import GPT_NAMES, gpt_first_loss, initialise_gpt
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.runtime import stream_seed


def names_for(kind: str) -> tuple[str, ...]:
    """The initialisations of a kind of model; none for one that is counted.

    >>> names_for("gpt")
    ('normal', 'scaled', 'xavier', 'zero_projections')
    """
    return {"bigram": BIGRAM_NAMES, "gpt": GPT_NAMES}.get(kind, ())


def default_name(kind: str, preset: str = "modern") -> str | None:
    """The initialisation that belongs to a kind of model, and to a preset of GPTs; None where there is none."""
    return {"bigram": "normal", "gpt": PRESET_INIT[preset]}.get(kind)


def initialise(
    model: LanguageModel, name: str | None, *, seed: int, ids: npt.NDArray[np.integer] | None = None
) -> None:
    """Give a model the weights of a named initialisation (None: its kind's default), drawn from seed.

    bigram: `zeros`; `small_normal` N(0, 0.01); `normal` N(0, 1), PyTorch's own and the lecture's; `counts`, in
    closed form from the training text's ids. gpt: `normal` N(0, 0.02), biases 0; `scaled`, the same with the
    projections into the residual stream times 1/sqrt(2 n_layer); `xavier`; and `zero_projections`, `normal`
    with those projections and the head at 0, so that the first loss is ln V exactly. A tied head is the token
    embedding and has no start of its own: there the embedding's values stand.

    Raises ConfigError for a name that the kind does not have, and for `counts` without ids.
    """
    if (name := _checked(model, name)) is None:
        return
    generator = torch.Generator().manual_seed(stream_seed(seed, "initialise"))
    with torch.no_grad():
        if isinstance(model, BigramLanguageModel):
            initialise_bigram(model, name, generator, ids)
        elif isinstance(model, GPTLanguageModel):
            initialise_gpt(model, name, generator)


def expected_first_loss(model: LanguageModel, name: str | None) -> float | None:
    """Nats per token before the first step; None for a model that begins with what it has counted."""
    if (name := _checked(model, name)) is None:
        return None
    if isinstance(model, BigramLanguageModel):
        return bigram_first_loss(model, name)
    return gpt_first_loss(model, name) if isinstance(model, GPTLanguageModel) else None


def _checked(model: LanguageModel, name: str | None) -> str | None:
    """The name, or the kind's default; ConfigError when the kind has no such initialisation."""
    known = names_for(model.kind)
    if name is not None and name not in known:
        reason = did_you_mean(name, known) if known else "its weights come from elsewhere; leave init out"
        raise ConfigError(f"unknown init '{name}' for model '{model.kind}': {reason}")
    return name or default_name(model.kind)
