"""What does dimension k mean? Its extreme tokens, what it goes along with, and what chance would show as well.

A space of vectors can be turned and say the same, unless something in the model or its optimizer is tied to the axes.
So a dimension is held against random directions of the same space (random rotations), and against the same numbers
dealt out to other tokens (permutations). Shapes: V tokens that are told of, C dimensions, F features.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from clearhead.evaluation.table import aligned
from clearhead.inspection.tables import TOO_FEW, Floats, Integers
from clearhead.inspection.view import HIDDEN

TRIALS = 200
"""Random rotations, and permutations: no p-value is below 1 / 201."""
LEVEL = 0.05
EXTREMES = 5
LEAST = 3
"""Tokens with a feature, and without it, below which the feature is left out."""
_WIDEST = 256
"""Dimensions above which fewer rotations are drawn."""
_AT_ONCE = 10
"""Rotations."""


@dataclass(frozen=True)
class Feature:
    """One thing that a dimension could mean."""

    name: str
    tokens: int
    """With the feature; of the frequency, all."""
    best_dimension: int
    correlation: float
    """Of that dimension, with its sign."""
    rotated: float
    """Mean over random rotations of the largest absolute correlation of any axis."""
    p_rotation: float
    """The share of rotations with an axis that goes along with it at least as well, times the features tested."""
    p_permutation: float
    """The same where the vectors are dealt out to other tokens: whether the space knows the feature at all."""


@dataclass(frozen=True)
class Dimension:
    """One axis of a table."""

    number: int
    share: float
    """Of the variance."""
    top: tuple[str, ...]
    bottom: tuple[str, ...]
    correlations: dict[str, float]
    p_rotation: dict[str, float]
    """For each feature, the share of all random directions that go along with it at least as well, times the number
    of tests: dimensions times features."""


@dataclass(frozen=True)
class Meaning:
    """What the dimensions of a table go along with."""

    features: tuple[Feature, ...]
    dimensions: tuple[Dimension, ...]
    tokens: int
    """Those that occur often enough to tell."""
    trials: int
    correlations: Floats = field(metadata=HIDDEN)
    """(F, C)"""

    @property
    def verdict(self) -> str:
        """What follows, in one line."""
        special = [f for f in self.features if f.p_rotation <= LEVEL]
        known = [f for f in self.features if f.p_permutation <= LEVEL]
        if not self.features:
            return "no feature has enough tokens with it and without it"
        what = ", ".join(f"{f.name} (dimension {f.best_dimension})" for f in special) or "none"
        return (
            "features that some dimension goes along with beyond chance: "
            f"{', '.join(f.name for f in known) or 'none'}; better than the same space turned at random: {what}"
        )

    def __str__(self) -> str:
        head = ("feature", "tokens", "dimension", "r", "turned", "p turned", "p dealt", "")
        rows = [
            (
                f.name,
                f"{f.tokens}",
                f"{f.best_dimension}",
                f"{f.correlation:+.2f}",
                f"{f.rotated:.2f}",
                f"{f.p_rotation:.3f}",
                f"{f.p_permutation:.3f}",
                "",
            )
            for f in self.features
        ]
        legend = (
            f"r: the strongest correlation of any dimension over {self.tokens} tokens; turned: the strongest after a\n"
            f"random rotation, mean of {self.trials}; p turned: how often that is as strong; p dealt: the same with\n"
            f"vectors dealt out to other tokens; both times the number of features, {len(self.features)}"
        )
        return "\n".join([*aligned([head, *rows]), legend, self.verdict] if rows else [self.verdict])

    def about(self, number: int) -> str:
        """One dimension in words."""
        d = self.dimensions[number]
        parts = [f"{name} {r:+.2f} (p {d.p_rotation[name]:.2g})" for name, r in d.correlations.items()]
        return (
            f"dimension {number} ({d.share:.1%} of the variance): most {' '.join(d.top)}; least {' '.join(d.bottom)}\n"
            f"  goes along with {', '.join(parts) or 'nothing that could be tested'}; p: of random directions, times "
            f"{len(self.dimensions) * len(self.features)} tests"
        )


def meaning(
    vectors: Floats, tokens: tuple[str, ...], counts: Integers, texts: tuple[str, ...], seed: int = 0
) -> Meaning:
    """The dimensions of a table (V, C). `texts` are the tokens themselves, `tokens` as people read them.

    Tokens that occur fewer than 20 times are left out.
    """
    told = np.flatnonzero(counts >= TOO_FEW)
    x = _centred(vectors[told])
    marks = _features([texts[i] for i in told], counts[told])
    names, features = tuple(marks), _centred(np.array(list(marks.values())).reshape(len(marks), len(told)).T)
    observed = _correlations(features, x)  # (F, C)
    rng = np.random.default_rng(seed)
    trials = TRIALS if x.shape[1] <= _WIDEST else TRIALS // 4
    turned = _turned(features, x, trials, rng)
    dealt = np.array([np.abs(_correlations(features[rng.permutation(len(told))], x)) for _ in range(trials)])
    found = [
        _feature(
            name, int(marks[name].sum()) if name != FREQUENCY else len(told), row, turned[:, i], dealt[:, i], len(names)
        )
        for i, (name, row) in enumerate(zip(names, observed, strict=True))
    ]
    sizes = (x**2).sum(0) / max(float((x**2).sum()), 1e-300)
    readable = [tokens[i] for i in told]
    dimensions = tuple(
        _dimension(k, float(sizes[k]), x[:, k], readable, dict(zip(names, observed[:, k], strict=True)), turned)
        for k in range(x.shape[1])
    )
    return Meaning(tuple(found), dimensions, len(told), trials, observed)


FREQUENCY = "log frequency"


def _features(texts: list[str], counts: Integers) -> dict[str, Floats]:
    """What each token is, as numbers (V,); features that nearly all or nearly no token has are left out."""
    words = [text.strip() or text for text in texts]
    marks = {
        "upper case": [word[:1].isupper() for word in words],
        "vowel": [len(word) == 1 and word.lower() in "aeiouyäöüàâéèêëîïôûáíóú" for word in words],
        "digit": [word.isdigit() for word in words],
        "white space or mark": [not any(map(str.isalnum, word)) for word in words],
    }
    kept = {name: np.array(mark, float) for name, mark in marks.items() if LEAST <= sum(mark) <= len(mark) - LEAST}
    return {FREQUENCY: np.log(counts), **kept} if len(set(counts.tolist())) > 1 else kept


def _correlations(features: Floats, x: Floats) -> Floats:
    """(F, C) Pearson's r of centred features (V, F) and dimensions (V, C); 0 where one does not vary."""
    size = np.linalg.norm(features, axis=0)[:, None] * np.linalg.norm(x, axis=0)
    return np.divide(features.T @ x, size, out=np.zeros_like(size), where=size > 1e-12)


def _turned(features: Floats, x: Floats, trials: int, rng: np.random.Generator) -> Floats:
    """(R, F, C) absolute correlations after random rotations (uniform: Stewart 1980).

    Some at a time and by torch: numpy's threads would wait for each other at every small matrix.
    """
    along, space = torch.from_numpy(features), torch.from_numpy(x)
    long, parts = along.norm(dim=0)[:, None], []
    for start in range(0, trials, _AT_ONCE):
        count = min(_AT_ONCE, trials - start)
        q, r = torch.linalg.qr(torch.from_numpy(rng.standard_normal((count, x.shape[1], x.shape[1]))))
        turned = space @ (q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None])  # (n, V, C)
        size = long * turned.norm(dim=1)[:, None]  # (n, F, C)
        parts.append(torch.where(size > 1e-12, along.mT @ turned / size, 0.0).abs())
    return torch.cat(parts).numpy()


def _feature(name: str, tokens: int, row: Floats, turned: Floats, dealt: Floats, tests: int) -> Feature:
    """A feature's best dimension beside the best of every trial (R, C): the maximum pays for trying all C."""
    best = int(np.abs(row).argmax())
    strongest = abs(row[best]) - 1e-12
    p_turned, p_dealt = (_p(int((null.max(1) >= strongest).sum()), len(null), tests) for null in (turned, dealt))
    return Feature(name, tokens, best, float(row[best]), float(turned.max(1).mean()), p_turned, p_dealt)


def _dimension(
    k: int, share: float, values: Floats, tokens: list[str], correlations: dict[str, float], turned: Floats
) -> Dimension:
    order = np.argsort(-values, kind="stable")
    top, bottom = ([tokens[i] for i in part] for part in (order[:EXTREMES], order[::-1][:EXTREMES]))
    pooled = turned.shape[0] * turned.shape[2]
    tests = turned.shape[1] * turned.shape[2]
    p = {
        name: _p(int((turned[:, i] >= abs(r) - 1e-12).sum()), pooled, tests)
        for i, (name, r) in enumerate(correlations.items())
    }
    return Dimension(k, share, tuple(top), tuple(bottom), {n: float(r) for n, r in correlations.items()}, p)


def _p(as_strong: int, trials: int, tests: int) -> float:
    """A p-value that counts the observation itself (Phipson & Smyth 2010), times the tests (Bonferroni)."""
    return min(1.0, tests * (as_strong + 1) / (trials + 1))


def _centred(x: Floats) -> Floats:
    return x - x.mean(0) if len(x) else x
