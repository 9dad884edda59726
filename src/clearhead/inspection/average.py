"""What any model says comes after a token: a bigram's own table, an n-gram's of order 2, a GPT's on average.

Shapes: V vocabulary, B rows, T positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.ladder import LARGEST_TABLE, score_split
from clearhead.evaluation.loss import evaluating, tokens_per_call
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.ngram import NgramLanguageModel

CONTEXTS = 16_384
"""Positions of the text that a GPT's average is over, at most."""


@dataclass(frozen=True)
class NextTable:
    """A row for each current token."""

    logits: Tensor
    """(V, V): a bigram's table; of others log-probabilities."""
    about: str
    """What it is, in words."""
    own: bool
    """Whether the model is this table, and has no other."""


def table_of(model: LanguageModel) -> Tensor:
    """The logits (V, V) of a bigram, on the CPU; ConfigError for another model."""
    if not isinstance(model, BigramLanguageModel):
        raise ConfigError(f"a {model.kind} model is no table of logits; look into a bigram")
    return model.token_embedding_table.weight.detach().cpu()


def next_table(model: LanguageModel, data: TokenDataset) -> NextTable:
    """The table of any model; ConfigError where the vocabulary makes it too large to hold."""
    if isinstance(model, BigramLanguageModel):
        return NextTable(table_of(model), "its own table, which is all it is", True)
    if (V := model.vocab_size) > LARGEST_TABLE:
        raise ConfigError(
            f"a table of {V:,} x {V:,} tokens is too large to draw up; train with at most {LARGEST_TABLE:,} tokens"
        )
    if isinstance(model, NgramLanguageModel):
        two = model.to_order(min(2, model.order))
        return NextTable(_alone(two, torch.arange(V)).log(), f"its table of order {two.order}, Kneser-Ney", False)
    return _average(model, data)


def _average(model: LanguageModel, data: TokenDataset) -> NextTable:
    """The mean of what a model says after each token, over the contexts that a text has."""
    V, split = model.vocab_size, score_split(data)
    total, seen = torch.zeros(V, V, dtype=torch.double), torch.zeros(V, dtype=torch.long)
    size = model.block_size or data.fits(tokens_per_call(model), split)
    with evaluating(model):
        for x, _ in data.windows(split, size, max(1, tokens_per_call(model) // size)):
            said = model(x.to(model.device)).logits.double().softmax(-1).cpu()
            total.index_add_(0, x.flatten(), said.flatten(0, 1))
            seen += x.flatten().bincount(minlength=V)
            if int(seen.sum()) >= CONTEXTS:
                break
    absent = (seen == 0).nonzero().flatten()
    total[absent] = _alone(model, absent)
    text = "validation" if split == "val" else "training"
    about = f"its average over {int(seen.sum()):,} contexts of the {text} text, windows of {size}"
    if len(absent):
        about += f"; {len(absent)} tokens that are not in them were asked without a context"
    return NextTable((total / seen.clamp(min=1)[:, None]).log(), about, False)


def _alone(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Probabilities (n, V) after each of tokens (n,) with nothing before it."""
    with evaluating(model):
        parts = [
            model(some[:, None].to(model.device)).logits[:, 0].double().softmax(-1).cpu()
            for some in tokens.split(tokens_per_call(model))
            if len(some)
        ]
    return torch.cat([torch.zeros(0, model.vocab_size, dtype=torch.double), *parts])
