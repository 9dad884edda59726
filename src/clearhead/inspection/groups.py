"""A model's loss over a validation text, taken apart: by token, by the token before, by place in the window.

Shapes: N tokens, n = N - 1 targets, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import FULL_PRECISION, token_losses
from clearhead.evaluation.mixing import first_tokens, score_parts
from clearhead.inspection.baselines import Baselines, Floats
from clearhead.inspection.surprisal import LN2
from clearhead.models.base import LanguageModel
from clearhead.models.mixture import MixtureLanguageModel, log_odds, mixed
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Ids

PLACES = 5
BEFORE = 24
"""Tokens of a place's context that are shown."""
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Group:
    """Targets that have something in common; bits are means over them."""

    name: str
    count: int
    share: float
    """Of all bits that the model needs."""
    bits: float
    bigram: float
    ngram: float
    error: float
    """Standard error of `ngram - bits`, targets taken as independent."""

    @property
    def won(self) -> float:
        """Bits that the model needs less than the n-gram, over all targets of the group."""
        return self.count * (self.ngram - self.bits)


@dataclass(frozen=True)
class Place:
    """One target in the text."""

    position: int
    """Among the tokens of the split, from 0."""
    context: str
    token: str
    bits: float
    bigram: float
    ngram: float


@dataclass(frozen=True)
class Groups:
    """Where the bits of a validation text go."""

    measured_on: str
    bits: float
    """Mean per token, as are the next two."""
    bigram: float
    ngram: float
    by_token: tuple[Group, ...]
    """The costliest first."""
    by_preceding: tuple[Group, ...]
    by_position: tuple[Group, ...]
    """Tokens read before the target within its window, in doublings; () for a model without windows."""
    surprises: tuple[Place, ...]
    """Where the model needs most bits."""
    wins: tuple[Place, ...]
    """Where it saves most beside the n-gram."""
    losses: tuple[Place, ...]
    """Where it loses most beside the n-gram."""
    sum_error: float
    """By how much the groups miss all bits, relative, the largest of the three sums."""


@dataclass(frozen=True)
class Scores:
    """Bits (n,) of the first n targets of a split."""

    ids: Ids
    """(n + 1,)"""
    bits: Floats
    bigram: Floats
    ngram: Floats
    split: str
    every: int
    """Targets of the whole split."""

    @property
    def said(self) -> str:
        """Which text this is."""
        n, text = len(self.bits), "validation" if self.split == "val" else "training"
        return f"{'all' if n == self.every else 'the first'} {n:,} tokens of the {text} text"


def score(
    model: LanguageModel, data: TokenDataset, baselines: Baselines, most: int, runtime: Runtime = FULL_PRECISION
) -> Scores:
    """The first `most` targets of the split that ladders are measured on, scored as a ladder scores them."""
    split = score_split(data)
    if isinstance(model, MixtureLanguageModel):
        parts = first_tokens(score_parts(model, data, split, runtime), most)
        nats = -mixed(parts.counted, parts.neural, log_odds(model.gate.double().cpu(), parts.known))
    else:
        nats = token_losses(model, data, split, runtime, most)
    bits = nats[:most].double().numpy() / LN2
    ids = data.ids(split)
    first = ids[: len(bits) + 1]
    counted = baselines.losses(first)
    return Scores(first, bits, counted["bigram"] / LN2, counted["ngram"] / LN2, split, len(ids) - 1)


def group(scores: Scores, names: tuple[str, ...], block_size: int | None) -> Groups:
    """Take the bits of a text apart. AssertionError when the parts do not sum to the whole."""
    targets, before = (ids.astype(np.int64) for ids in (scores.ids[1:], scores.ids[:-1]))
    by_token = sorted(_grouped(scores, targets, names), key=lambda group: -group.share)
    by_preceding = sorted(_grouped(scores, before, names), key=lambda group: -group.share)
    by_position = _by_position(scores, block_size) if block_size else []
    sums = [sum(found.share for found in groups) for groups in (by_token, by_preceding, by_position) if groups]
    error = max(abs(total - 1) for total in sums)
    assert error < TOLERANCE, f"the groups miss {error:.1e} of all bits"
    saved = scores.ngram - scores.bits
    return Groups(
        measured_on=scores.said,
        bits=float(scores.bits.mean()),
        bigram=float(scores.bigram.mean()),
        ngram=float(scores.ngram.mean()),
        by_token=tuple(by_token),
        by_preceding=tuple(by_preceding),
        by_position=tuple(by_position),
        surprises=_places(scores, scores.bits, names),
        wins=_places(scores, saved, names),
        losses=_places(scores, -saved, names),
        sum_error=error,
    )


def _grouped(scores: Scores, keys: npt.NDArray[np.int64], names: tuple[str, ...]) -> list[Group]:
    """The targets of equal keys (n,), each group with the name of its key; keys without targets are left out."""
    counts = np.bincount(keys, minlength=len(names))
    sums = [np.bincount(keys, values, len(names)) for values in (scores.bits, scores.bigram, scores.ngram)]
    saved = scores.ngram - scores.bits
    squares = np.bincount(keys, saved**2, len(names))
    total, there = float(scores.bits.sum()), np.flatnonzero(counts)
    found = []
    for key in there.tolist():
        n, (bits, bigram, ngram) = int(counts[key]), (float(values[key]) for values in sums)
        spread = max(0.0, float(squares[key]) - (ngram - bits) ** 2 / n) / max(1, n - 1)
        error = (spread / n) ** 0.5 if n > 1 else 0.0
        found.append(Group(names[key], n, bits / total, bits / n, bigram / n, ngram / n, error))
    return found


def _by_position(scores: Scores, block_size: int) -> list[Group]:
    """Targets by how many tokens of their window precede them: 1, 2, 3-4, 5-8, ..."""
    read = np.arange(len(scores.bits)) % block_size + 1
    bins = np.ceil(np.log2(read)).astype(np.int64)
    edges = [(1 << (number - 1)) + 1 if number else 1 for number in range(int(bins.max()) + 1)]
    lasts = [min(1 << number, block_size) for number in range(len(edges))]
    names = [f"{first}" if first == last else f"{first}-{last}" for first, last in zip(edges, lasts, strict=True)]
    return _grouped(scores, bins, tuple(names))


def _places(scores: Scores, badness: Floats, names: tuple[str, ...]) -> tuple[Place, ...]:
    """The targets of the highest figures (n,), the highest first."""
    order = np.argsort(-badness, kind="stable")[:PLACES]
    return tuple(
        Place(
            position=at + 1,
            context="".join(_spaced(names[i]) for i in scores.ids[max(0, at + 1 - BEFORE) : at + 1].tolist()),
            token=names[int(scores.ids[at + 1])],
            bits=float(scores.bits[at]),
            bigram=float(scores.bigram[at]),
            ngram=float(scores.ngram[at]),
        )
        for at in order.tolist()
    )


def _spaced(name: str) -> str:
    """A token in a running text: words apart, characters together."""
    return name if len(name) == 1 else f"{name} "
