"""Is an embedding a look-up table or a space of meaning? Both: neighbours, analogies, pictures, dimensions.

Shapes: V tokens, C dimensions, k neighbours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.table import aligned
from clearhead.inspection.analogies import Analogy, CasePairs, ask, case_pairs
from clearhead.inspection.dimensions import Meaning, meaning
from clearhead.inspection.projection import Method, Projection, align, project
from clearhead.inspection.spectrum import DirectPath, Spectrum, direct_path, spectrum
from clearhead.inspection.tables import (
    TOO_FEW,
    Floats,
    Integers,
    Table,
    find_token,
    inner_gpt,
    labels,
    nearest,
    tables_of,
    token_counts,
)
from clearhead.inspection.view import HIDDEN, View
from clearhead.models.base import LanguageModel
from clearhead.tokenizers.base import Tokenizer

SHOWN = 12
"""Tokens whose neighbours are printed when none are named: the most frequent."""
WIDEST = 3
"""Dimensions told of when none are named: those of the largest variance."""


@dataclass(frozen=True)
class Neighbours:
    """Of every token its nearest others among all tokens, in the original space."""

    cosine: Integers
    """(V, k)"""
    cosines: Floats
    """(V, k)"""
    euclidean: Integers
    """(V, k)"""
    distances: Floats
    """(V, k)"""


@dataclass(frozen=True)
class Moment:
    """A table as a checkpoint holds it."""

    step: int
    points: Floats
    """(V, 2) its own principal axes, turned to lie on the picture of today."""
    kept: float
    """Neighbourhood kept by this picture."""
    same: float
    """Of each token's nearest (Euclidean) then, the share that still are."""


@dataclass(frozen=True)
class TableFindings:
    """All that is found about one table."""

    table: Table
    neighbours: Neighbours
    spectrum: Spectrum
    flat: Projection
    """In two dimensions."""
    solid: Projection
    """In three."""
    meaning: Meaning
    cases: CasePairs | None
    through: tuple[Moment, ...]
    """Oldest first."""


@dataclass(frozen=True)
class Embeddings(View):
    """The tables of a model, every token of them."""

    run: str
    model: str
    tokens: tuple[str, ...]
    """(V,) as people read them."""
    counts: Integers
    """(V,) in the training text."""
    too_few: int
    """Occurrences below which a token's vector tells nothing."""
    tables: tuple[TableFindings, ...]
    direct: DirectPath | None
    """None for a bigram, whose table is the logits."""
    analogies: tuple[Analogy, ...]
    notes: tuple[str, ...]
    shown: tuple[int, ...] = field(metadata=HIDDEN)
    """Tokens whose neighbours are printed."""
    shown_dimensions: tuple[int, ...] = field(metadata=HIDDEN)
    """() for those of the largest variance."""

    @property
    def title(self) -> str:
        """What, of which run, how large."""
        V, C = self.tables[0].table.vectors.shape
        return f"Embeddings of {self.run}: {V:,} tokens in {C:,} dimensions"

    def __str__(self) -> str:
        parts = [*self.notes, *(self._about(found) for found in self.tables)]
        parts += [str(self.direct)] if self.direct else []
        return "\n\n".join([*parts, *map(str, self.analogies)])

    def _about(self, found: TableFindings) -> str:
        lines = [f"{found.table.name}: {found.table.about}", str(found.spectrum), f"picture: {found.flat.words}"]
        lines += [f"  step {m.step:,}: {m.same:.0%} of the neighbours are those of today" for m in found.through]
        lines += ["", *self._neighbours(found.neighbours), ""]
        lines += [str(found.cases)] if found.cases else []
        lines += ["what does a dimension mean?", str(found.meaning)]
        widest = np.argsort([-d.share for d in found.meaning.dimensions], kind="stable")[:WIDEST].tolist()
        return "\n".join([*lines, *(found.meaning.about(k) for k in self.shown_dimensions or widest)])

    def _neighbours(self, n: Neighbours) -> list[str]:
        rows = [("token", "count", "nearest of all tokens by cosine, then by distance where that differs")]
        for i in self.shown:
            by_cosine = "  ".join(f"{self._name(j)} {c:.2f}" for j, c in zip(n.cosine[i], n.cosines[i], strict=True))
            by_distance = "  ".join(
                f"{self._name(j)} {-d:.2f}" for j, d in zip(n.euclidean[i], n.distances[i], strict=True)
            )
            same = n.cosine[i].tolist() == n.euclidean[i].tolist()
            rows.append((self._name(i), f"{self.counts[i]:,}", by_cosine if same else f"{by_cosine}  |  {by_distance}"))
        few = int((self.counts < self.too_few).sum())
        starred = (
            f"* {few} of {len(self.tokens):,} tokens stand fewer than {self.too_few} times in the training text: "
            "too few to tell"
        )
        return [*aligned(rows), *([starred] if few else [])]

    def _name(self, token: int) -> str:
        return self.tokens[token] + "*" * bool(self.counts[token] < self.too_few)


def embeddings(
    model: LanguageModel,
    tokenizer: Tokenizer,
    data: TokenDataset,
    *,
    run: str = "the run",
    checkpoints: Iterable[tuple[int, LanguageModel]] = (),
    also: Sequence[tuple[str, LanguageModel, Tokenizer]] = (),
    tokens: Sequence[str] = (),
    analogies: Sequence[tuple[str, str, str]] = (),
    dimensions: Sequence[int] = (),
    projection: Method = "pca",
) -> Embeddings:
    """Look into the tables of a GPT (a mixture's too) or a bigram.

    `checkpoints` are earlier weights (step, model); `also` other runs (name, model, tokenizer) that answer the
    analogies too. ConfigError for a model without tables, a dimension that is not there or another vocabulary;
    TokenizerError for an unknown token.
    """
    tables, names = tables_of(model), labels(tokenizer)
    counts = token_counts(data, tokenizer.vocab_size)
    _check(tables[0], dimensions, tokenizer, also)
    moments = [(step, {table.name: table for table in tables_of(older)}) for step, older in checkpoints]
    texts = tuple(tokenizer.decode([i]) or names[i] for i in range(tokenizer.vocab_size))
    found = tuple(_look(table, names, texts, counts, moments, projection) for table in tables)
    named = [find_token(word, tokenizer, counts) for word in tokens]
    sources = [(run, tables), *((name, tables_of(other)) for name, other, _ in also)]
    questions = [tuple(find_token(word, tokenizer, counts) for word in words) for words in analogies]
    gpt = inner_gpt(model)
    return Embeddings(
        run=run,
        model=model.kind,
        tokens=names,
        counts=counts,
        too_few=TOO_FEW,
        tables=found,
        direct=direct_path(gpt, data, counts) if gpt else None,
        analogies=tuple(_analogy(sources, names, a, b, c) for a, b, c in questions),
        notes=("the GPT of the mixture; its n-gram counts and has no embeddings",) if model.kind == "mixture" else (),
        shown=tuple(named) or tuple(np.argsort(-counts, kind="stable")[:SHOWN].tolist()),
        shown_dimensions=tuple(dimensions),
    )


def _look(
    table: Table,
    names: tuple[str, ...],
    texts: tuple[str, ...],
    counts: Integers,
    moments: Sequence[tuple[int, dict[str, Table]]],
    projection: Method,
) -> TableFindings:
    by_cosine, by_distance = nearest(table.vectors, "cosine"), nearest(table.vectors, "euclidean")
    flat, solid = (project(table.vectors, d, projection, by_distance[0]) for d in (2, 3))
    return TableFindings(
        table=table,
        neighbours=Neighbours(*by_cosine, *by_distance),
        spectrum=spectrum(table.vectors),
        flat=flat,
        solid=solid,
        meaning=meaning(table.vectors, names, counts, texts),
        cases=case_pairs(table.vectors, texts),
        through=tuple(_moment(step, older[table.name].vectors, by_distance[0], flat.points) for step, older in moments),
    )


def _moment(step: int, vectors: Floats, today: Integers, picture: Floats) -> Moment:
    then, _ = nearest(vectors, "euclidean", today.shape[1])
    drawn = project(vectors, 2, original=then)
    same = float((then[:, :, None] == today[:, None, :]).any(-1).mean())
    return Moment(step, align(drawn.points, picture) + picture.mean(0), drawn.kept, same)


def _analogy(sources: Sequence[tuple[str, Sequence[Table]]], names: tuple[str, ...], a: int, b: int, c: int) -> Analogy:
    answers = (ask(run, table, names, a, b, c) for run, tables in sources for table in tables)
    return Analogy(names[a], names[b], names[c], tuple(answers))


def _check(
    table: Table, dimensions: Sequence[int], tokenizer: Tokenizer, also: Sequence[tuple[str, LanguageModel, Tokenizer]]
) -> None:
    V, C = table.vectors.shape
    if V <= 2:
        raise ConfigError(f"a vocabulary of {V} tokens has no neighbours to speak of; train on a text with more")
    for k in dimensions:
        if not 0 <= k < C:
            raise ConfigError(f"there is no dimension {k}; dimensions are 0 .. {C - 1}")
    for name, _, other in also:
        if other.fingerprint != tokenizer.fingerprint:
            raise ConfigError(
                f"run {name} has another vocabulary; analogies are compared between runs of one tokenizer"
            )
