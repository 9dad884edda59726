"""How surprised a model is at each token of a text, and what it would have said instead.

Shapes: N tokens, n = N - 1 targets, V vocabulary, K choices, T a window.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.inspection.baselines import Baselines, Floats
from clearhead.inspection.passage import Passage, read_passage
from clearhead.inspection.tables import labels
from clearhead.models.base import LanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.tokenizers.base import Tokenizer

MOST = 4_096
"""Tokens of a text that are looked at."""
STRETCH = 512
"""Tokens of validation text that stand in where no text is given."""
CHOICES = 4
LN2 = math.log(2)


@dataclass(frozen=True)
class Surprisal:
    """The tokens of a text but its first, which nothing precedes."""

    tokens: tuple[str, ...]
    """(n,) as people read them."""
    bits: Floats
    """(n,) by the model."""
    bigram: Floats
    """(n,) by the counted bigram, after the token before."""
    ngram: Floats
    """(n,) by the n-gram, after all that precedes."""
    choices: tuple[tuple[tuple[str, float], ...], ...]
    """(n, K): what the model held likeliest there, and its probability."""
    how: str
    """What the model saw of the text before each token."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def saved(self) -> dict[str, Floats]:
        """Bits (n,) that the model needs less than the counted models, by their names."""
        return {"bigram": self.bigram - self.bits, "n-gram": self.ngram - self.bits}


def find_text(
    text: str | None, model: LanguageModel, tokenizer: Tokenizer, data: TokenDataset, counted: LanguageModel
) -> Passage:
    """The last `MOST` tokens of a text; without one the beginning of the validation text.

    ConfigError for a text without two tokens, TokenizerError for what the model has never seen.
    """
    if text is None:
        split = score_split(data)
        said = "validation" if split == "val" else "training"
        ids, notes = data.ids(split)[:STRETCH], (f"no text was given: this is where the {said} text begins",)
    else:
        whole = read_passage(text, counted, tokenizer)
        ids, notes = whole.idx[0].numpy(), whole.notes
        if len(ids) > MOST:
            notes = (*notes, f"the text has {len(ids):,} tokens: these are the last {MOST:,}")
            ids = ids[-MOST:]
    if len(ids) < 2:
        raise ConfigError(f"{text!r} is one token, and nothing precedes it; give two at least")
    names = labels(tokenizer)
    idx = torch.from_numpy(np.asarray(ids, dtype=np.int64))
    return Passage(idx[None], tuple(names[i] for i in idx.tolist()), names, notes)


def surprisal(model: LanguageModel, passage: Passage, baselines: Baselines) -> Surprisal:
    """Every token of a passage but the first, by the model and by counts."""
    idx, targets = passage.idx[0], passage.idx[0, 1:]
    nats, likeliest, shares = [], [], []
    with evaluating(model):
        for said, y in _said(model, idx, targets):
            nats.append(F.cross_entropy(said, y, reduction="none").double())
            p, ids = said.softmax(-1).topk(min(CHOICES, model.vocab_size))
            likeliest += ids.tolist()
            shares += p.tolist()
    counted = baselines.losses(idx.numpy())
    named = [
        tuple((passage.names[i], p) for i, p in zip(*row, strict=True)) for row in zip(likeliest, shares, strict=True)
    ]
    return Surprisal(
        tokens=passage.tokens[1:],
        bits=torch.cat(nats).numpy() / LN2,
        bigram=counted["bigram"] / LN2,
        ngram=counted["ngram"] / LN2,
        choices=tuple(named),
        how=_how(model, len(passage)),
    )


def _said(model: LanguageModel, idx: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (t, V) float32 on the CPU and their targets (t,), in order, every target once."""
    n, T = len(targets), model.block_size
    if T is None:
        cache, step = model.new_cache(1), tokens_per_call(model)
        for start in range(0, n, step):
            x = idx[None, start : min(start + step, n)].to(model.device)
            yield model(x, cache=cache).logits[0].float().cpu(), targets[start : start + x.shape[1]]
        return
    done = 0
    for start in range(0, n, max(1, T // 2)):
        if done == n:
            return
        x = idx[None, start : min(start + T, n)]
        before = idx[None, max(0, start - model.lookback) : start]
        cache = model.cache_after(before.to(model.device)) if isinstance(model, MixtureLanguageModel) else None
        logits = model(x.to(model.device), cache=cache).logits[0, done - start :].float().cpu()
        yield logits, targets[done : done + len(logits)]
        done += len(logits)


def _how(model: LanguageModel, tokens: int) -> str:
    """The rule of `_said` in words."""
    if model.block_size is None or tokens - 1 <= model.block_size:
        return "each token after all of the text before it, as far as the model looks"
    least = model.block_size - max(1, model.block_size // 2) + 1
    return f"windows of {model.block_size} that overlap by half: each token after at least {least}, or all that precede"
