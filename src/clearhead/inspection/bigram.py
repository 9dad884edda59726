"""What does entry [i, j] of the table mean, and has the table stabilised?

Shapes: V vocabulary, k tokens that are drawn, m distinct pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clearhead.config import TrainConfig
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.certificate import (
    THRESHOLD,
    Certificate,
    Pairs,
    certify,
    log_probabilities,
    reason,
    sampled_pairs,
)
from clearhead.evaluation.loss import FULL_PRECISION
from clearhead.evaluation.table import aligned
from clearhead.inspection.average import NextTable, next_table
from clearhead.inspection.pair import Pair, pair_of
from clearhead.inspection.signals import Kept, Moment, Signal, history_of, signals_of
from clearhead.inspection.tables import find_token, labels
from clearhead.inspection.view import HIDDEN, View
from clearhead.models.base import LanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.certifying import pairs_at
from clearhead.training.feed import Feed

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ALL_DRAWN = 100
"""The largest vocabulary that is drawn whole."""
DRAWN = 64
"""Tokens along the side of a heatmap of a larger one: the most frequent."""
PRINTED = 8
"""Rows of a table that are printed."""


@dataclass(frozen=True)
class Amounts:
    """A loss and what it is made of, all in one unit per token: loss = floor + leak + misfit."""

    loss: float
    floor: float
    gap: float
    leak: float
    misfit: float


@dataclass(frozen=True)
class Row:
    """A row that is not where it should be."""

    token: str
    count: int
    """Times that it is current."""
    share: float
    """Of all targets, as the sampler draws them."""
    part: float
    """Of the whole gap."""
    bits: float
    """KL of this row by itself."""
    leaked: float
    """Its belief in successors that were never seen."""
    why: str


@dataclass(frozen=True)
class Seen:
    """Every pair that is sampled, (m,) each; tokens by their ids."""

    current: Integers
    following: Integers
    count: Integers
    share: Floats
    """p(following | current) as the sampler draws it."""
    probability: Floats
    """By the table."""


@dataclass(frozen=True)
class Drawn:
    """The part of the tables that fits into a picture."""

    tokens: tuple[str, ...]
    """(k,)"""
    counts: Integers
    """(k, k)"""
    share: Floats
    """(k, k): NaN in a row that is never current."""
    probability: Floats
    """(k, k)"""


@dataclass(frozen=True)
class Bigram(View):
    """A table of next tokens beside the counts."""

    run: str
    kind: str
    step: int
    about: str
    """What the table is to the model."""
    nats: Amounts
    bits: Amounts
    threshold: float
    """Bits above the floor."""
    stabilised: bool | None
    """None where the table is no model that was trained: an average, or counts."""
    rows: tuple[Row, ...]
    """Those whose own KL is above the threshold; what costs most first."""
    never: tuple[str, ...]
    """Tokens that are never current: their rows keep what they began with."""
    signals: tuple[Signal, ...]
    history: tuple[Moment, ...]
    pair: Pair | None
    check: float
    """Nats by which floor, leak and misfit together miss the loss."""
    tokens: tuple[str, ...]
    """(V,)"""
    seen: Seen
    drawn: Drawn = field(metadata=HIDDEN)

    @property
    def title(self) -> str:
        """The question, and of whom it is asked."""
        if self.pair:
            return f"bigram: what {self.run} ({self.kind}) says after {self.pair.current}"
        asked = "what it says comes next, beside the counts" if self.stabilised is None else "has its table stabilised?"
        return f"bigram: {self.run} ({self.kind}, step {self.step:,}), {asked}"

    def __str__(self) -> str:
        if self.pair:
            return str(self.pair)
        parts = [self._verdict(), self._rows(), self._signals(), self._history()]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def _verdict(self) -> list[str]:
        bits = self.bits
        if self.stabilised is None:
            verdict = "no verdict: this table was never what training made smaller"
        else:
            state, side = ("stabilised", "below") if self.stabilised else ("not stabilised", "not below")
            verdict = f"{state}: the gap of {bits.gap:.4f} bits is {side} the threshold of {self.threshold:g}"
        return [
            f"the table: {self.about}",
            f"loss {self.nats.loss:.4f} nats = {bits.loss:.4f} bits per token, over all pairs as training draws them",
            f"{bits.gap:.4f} bits above the floor of {bits.floor:.4f}: {bits.leak:.4f} leak, {bits.misfit:.4f} misfit",
            "(leak: belief in successors never seen; misfit: wrong shares among those seen)",
            verdict,
            f"check: floor + leak + misfit differ from the loss by {self.check:.1e} nats",
        ]

    def _rows(self) -> list[str]:
        never = [f"never current, so without any gradient: {' '.join(self.never)}"] * bool(self.never)
        if not self.rows:
            return [f"all rows that are ever current are within {self.threshold:g} bits of their counts", *never]
        trained = self.stabilised is not None
        table = [("row", "current", "of all", "of the gap", "own bits", "leaks", "why" if trained else "")]
        for row in self.rows[:PRINTED]:
            figures = f"{row.count:,}", f"{row.share:.3%}", f"{row.part:.1%}", f"{row.bits:.4f}", f"{row.leaked:.2%}"
            table.append((row.token, *figures, row.why))
        what = "not there" if trained else "not as the counts"
        return [
            f"{len(self.rows)} of {len(self.tokens):,} rows are {what} (own KL above {self.threshold:g} bits); "
            "what costs most first",
            *aligned([tuple(f"  {cell}" if not i else cell for i, cell in enumerate(line)) for line in table]),
            *never,
        ]

    def _signals(self) -> list[str]:
        if not self.signals:
            return []
        said = {True: "looks done", False: "", None: ""}
        rows = [(f"  {s.name}", f"{s.value:+.2e}", s.unit, said[s.looks_done], s.misleads) for s in self.signals]
        return ["what others go by, and why it misleads", *aligned(rows)]

    def _history(self) -> list[str]:
        if len(self.history) < 2:
            return []
        moments = self.history[:: -(-len(self.history) // PRINTED)]
        moments = moments if moments[-1] is self.history[-1] else (*moments, self.history[-1])
        rows = [("  step", "gap", "leak", "misfit (bits)", "")]
        rows += [(f"  {m.step:,}", f"{m.gap:.4f}", f"{m.leak:.4f}", f"{m.misfit:.4f}", "") for m in moments]
        return ["through training", *aligned(rows)]


def bigram(
    model: LanguageModel,
    tokenizer: Tokenizer,
    data: TokenDataset,
    train: TrainConfig,
    *,
    pair: tuple[str, str] | None = None,
    run: str = "",
    step: int = 0,
    events: Sequence[Mapping[str, Any]] = (),
    kept: Kept = (),
) -> Bigram:
    """The table of any model beside the counts of its text; with a `pair` what one entry means.

    `step` is the model's, `events` are its run's, `kept` the tables of its checkpoints. TokenizerError for an unknown
    token of the pair; ConfigError where the table would be too large.
    """
    names, table = labels(tokenizer), next_table(model, data)
    counted = sampled_pairs(data.ids("counts"), 1, model.vocab_size)
    pairs = counted  # what an n-gram was fitted to
    if model.kind != NgramLanguageModel.kind:
        pairs = pairs_at(Feed(data, train, FULL_PRECISION), max(0, step - 1), model.vocab_size)
    found = certify(table.logits, pairs)
    asked = None
    if pair is not None:
        at = find_token(pair[0], tokenizer, counted.seen), find_token(pair[1], tokenizer, counted.seen)
        asked = pair_of(model, table, pairs, counted, at, names)
    history = history_of(events, kept, pairs) if table.own else ()
    return Bigram(
        run=run,
        kind=model.kind,
        step=step,
        about=table.about,
        nats=_amounts(found, 1.0),
        bits=_amounts(found, math.log(2)),
        threshold=THRESHOLD,
        stabilised=found.stabilised() if table.own else None,
        rows=_rows(found, pairs, names, train.weight_decay if table.own else 0.0, table.own),
        never=tuple(names[row] for row in np.flatnonzero(pairs.seen == 0)),
        signals=signals_of(found, history, kept) if table.own else (),
        history=history,
        pair=asked,
        check=found.error,
        tokens=names,
        seen=_seen(table, pairs),
        drawn=_drawn(table, pairs, names),
    )


def _amounts(found: Certificate, unit: float) -> Amounts:
    parts = found.loss, found.floor, found.gap, found.leak, found.misfit
    return Amounts(*(part / unit for part in parts))


def _rows(
    found: Certificate, pairs: Pairs, names: tuple[str, ...], weight_decay: float, trained: bool
) -> tuple[Row, ...]:
    """The rows whose own KL is above the threshold."""
    bits = found.divergences / math.log(2)
    far = np.flatnonzero(np.nan_to_num(bits) > THRESHOLD)
    return tuple(
        Row(
            token=names[row],
            count=int(pairs.seen[row]),
            share=float(pairs.shares[row]),
            part=float(found.gaps[row] / found.gap),
            bits=float(bits[row]),
            leaked=float(found.leaked[row]),
            why=reason(found, row, weight_decay) if trained else "",
        )
        for row in far[np.argsort(-found.gaps[far], kind="stable")]
    )


def _seen(table: NextTable, pairs: Pairs) -> Seen:
    """The table's probability of every pair."""
    said = np.exp(log_probabilities(table.logits, pairs))
    return Seen(pairs.current, pairs.following, pairs.counts, pairs.conditional, said)


def _drawn(table: NextTable, pairs: Pairs, names: tuple[str, ...]) -> Drawn:
    """The whole tables, or those of the most frequent tokens, in the order of their ids."""
    V = len(names)
    chosen = np.arange(V) if V <= ALL_DRAWN else np.sort(np.argsort(-pairs.seen, kind="stable")[:DRAWN])
    place = np.full(V, -1)
    place[chosen] = np.arange(k := len(chosen))
    inside = (place[pairs.current] >= 0) & (place[pairs.following] >= 0)
    at = place[pairs.current[inside]], place[pairs.following[inside]]
    counts, share = np.zeros((k, k), dtype=np.int64), np.zeros((k, k))
    counts[at], share[at] = pairs.counts[inside], pairs.conditional[inside]
    share[pairs.seen[chosen] == 0] = np.nan
    rows = table.logits[torch.from_numpy(chosen)].double().softmax(-1).numpy()
    return Drawn(tuple(names[i] for i in chosen), counts, share, rows[:, chosen])
