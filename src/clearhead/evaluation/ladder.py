"""The ladder: models fitted to one text and scored on one validation text, so that a loss means something."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clearhead.data.sample import PIECE, SEED
from clearhead.data.tokens import MOST_COUNTED, TokenDataset
from clearhead.errors import ConfigError
from clearhead.evaluation.loss import FULL_PRECISION, SplitLoss, measured, split_loss
from clearhead.evaluation.table import ladder_table
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel, laplace_losses
from clearhead.models.ngram import NgramLanguageModel, choose_order
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer

MAX_ORDER = 10
UNDECIDED_ORDER = 5
"""The order of the n-gram when the text has no dev split to choose it."""
LEAST_ORDER = 3
"""Where the tables of a whole text hold no n-grams of so many tokens, a sample of it is counted."""
LAPLACE = (1.0, 0.1, 0.01, 0.001)
"""Constants the counted bigram chooses from, on dev."""
LARGEST_TABLE = 8_192
"""Above this vocabulary the dense bigram table would pass 256 MB; the n-gram of order 2 stands in for it."""


@dataclass(frozen=True)
class Rung:
    """One model's place on the ladder."""

    name: str
    bits_per_char: float
    nats_per_token: float
    parameters: int
    fit_seconds: float | None
    context: int
    """Tokens that can influence a prediction."""
    tokenizer: str
    run: str | None = None
    note: str = ""
    vocab_size: int = 0
    """Ids of the tokenizer."""
    vocabulary: str = ""
    """The tokenizer's fingerprint: two of one name and size may have learned from different texts."""


@dataclass(frozen=True)
class Ladder:
    """Rungs on one text. `split` is "val", or "train" where the text was too short to hold any back."""

    corpus: str
    val_sha256: str
    val_characters: int
    split: str
    rungs: tuple[Rung, ...]

    def __getitem__(self, name: str) -> Rung:
        """The first rung of a name; KeyError when there is none."""
        for rung in self.rungs:
            if rung.name == name:
                return rung
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The document that `ladder --json` prints."""
        return {
            "corpus": self.corpus,
            "val_characters": self.val_characters if self.split == "val" else 0,
            "split": self.split,
            "rungs": [asdict(rung) for rung in self.rungs],
        }

    def __str__(self) -> str:
        """A table for a person."""
        return ladder_table(self)


def score_split(data: TokenDataset) -> str:
    """The split a ladder is measured on: validation, or the training text where there is none."""
    return "val" if len(data.ids("val")) > 1 else "train"


def counted_rungs(data: TokenDataset, tokenizer: Tokenizer) -> Iterator[Rung]:
    """uniform, unigram, bigram and n-gram, counted on all training text, each yielded when it is scored."""
    start = time.perf_counter()
    yield _uniform(data, tokenizer)
    counted = fit_ngram(data, tokenizer)
    ngram = counted.model
    seconds = time.perf_counter() - start
    yield score_rung("unigram", ngram.to_order(1), data, tokenizer, seconds / max(1, ngram.order))
    yield _bigram(data, tokenizer, ngram)
    yield score_rung("ngram", ngram, data, tokenizer, seconds, note=counted.note)


def losses_by_rung(rungs: Sequence[Rung]) -> dict[str, float]:
    """Nats per token by rung: what a training curve is held against."""
    return {rung.name: rung.nats_per_token for rung in rungs}


def counted_order(rungs: Sequence[Rung]) -> int | None:
    """The order of the n-gram among counted rungs; None where there is none."""
    return next((rung.context + 1 for rung in rungs if rung.name == "ngram"), None)


@dataclass(frozen=True)
class Counted:
    """An n-gram, and what it was counted on."""

    model: NgramLanguageModel
    note: str
    """A rung's."""
    parts: int
    """One in so many parts of the text was counted; 1: all of it."""
    cut: bool
    """Whether the tables of a higher order, which was wanted, did not fit."""


def fit_ngram(data: TokenDataset, tokenizer: Tokenizer, order: int | None = None, most: int = MOST_COUNTED) -> Counted:
    """The n-gram of an order, or of the order that dev likes best, counted on all training text.

    On a sample where that is more than `most` tokens, or where the tables of all of it would leave an n-gram of fewer
    than three.
    """
    counted = _fit_on(data, tokenizer, order, data.thinned(most))
    while counted.cut and counted.model.order < LEAST_ORDER and 2 * counted.parts * PIECE < len(data.ids("counts")):
        counted = _fit_on(data, tokenizer, order, 2 * counted.parts)
    return counted


def _fit_on(data: TokenDataset, tokenizer: Tokenizer, order: int | None, parts: int) -> Counted:
    """The same on a sample of one in so many parts."""
    vocabulary = {"vocab_size": tokenizer.vocab_size, "eot_id": tokenizer.eot_id}
    most = order or UNDECIDED_ORDER
    if order is None and len(data.ids("dev")) > 1:
        order, losses = choose_order(data.counted("train", parts), data.ids("dev"), max_order=MAX_ORDER, **vocabulary)
        most = MAX_ORDER if order == len(losses) else order
    ngram = NgramLanguageModel.fit(data.counted("counts", parts), order=order or most, **vocabulary)
    limit = ", the largest that fits into memory" if ngram.order < most else ""
    note = f"Kneser-Ney, order {ngram.order}{limit}{_sampled(data, parts)}"
    return Counted(ngram, note, parts, cut=ngram.order < most)


def _sampled(data: TokenDataset, parts: int) -> str:
    """What to say where a sample was counted."""
    if parts == 1:
        return ""
    return f", counted on {len(data.counted('counts', parts)) / len(data.ids('counts')):.1%} of the text (seed {SEED})"


def fit_bigram(data: TokenDataset, tokenizer: Tokenizer) -> tuple[BigramLanguageModel, float]:
    """The counted bigram table and its Laplace constant: the one dev likes best of `LAPLACE`."""
    if len(data.ids("dev")) < 2:
        laplace = LAPLACE[0]
    else:
        losses = laplace_losses(data.counted("train"), data.ids("dev"), tokenizer.vocab_size, LAPLACE)
        laplace = LAPLACE[losses.index(min(losses))]
    return BigramLanguageModel.from_counts(data.counted("counts"), tokenizer.vocab_size, laplace), laplace


def score_rung(
    name: str,
    model: LanguageModel,
    data: TokenDataset,
    tokenizer: Tokenizer,
    fit_seconds: float | None,
    *,
    runtime: Runtime = FULL_PRECISION,
    run: str | None = None,
    note: str = "",
) -> Rung:
    """A model's rung: its loss over the whole split that the ladder is measured on."""
    loss = split_loss(model, data, score_split(data), runtime)
    return build_rung(name, model, tokenizer, loss, fit_seconds, run=run, note=note)


def build_rung(
    name: str,
    model: LanguageModel | None,
    tokenizer: Tokenizer,
    loss: SplitLoss,
    fit_seconds: float | None,
    *,
    run: str | None = None,
    note: str = "",
) -> Rung:
    """A model's rung, with a loss that was measured already; no model knows nothing."""
    return Rung(
        name=name,
        bits_per_char=loss.bits_per_char,
        nats_per_token=loss.nats_per_token,
        parameters=model.num_parameters() if model else 0,
        fit_seconds=fit_seconds,
        context=model.context if model else 0,
        tokenizer=tokenizer.name,
        run=run,
        note=note,
        vocab_size=tokenizer.vocab_size,
        vocabulary=tokenizer.fingerprint,
    )


def build_ladder(data: TokenDataset, rungs: list[Rung]) -> Ladder:
    """Rungs on their text; the order they came in is the order they stand in."""
    split = score_split(data)
    return Ladder(data.meta.name, data.meta.val_sha256, data.meta.characters[split], split, tuple(rungs))


def join_ladders(ladders: list[Ladder]) -> Ladder:
    """One ladder of several; ConfigError when they were scored on different texts. Equal rungs appear once."""
    first = ladders[0]
    for other in ladders[1:]:
        if (other.val_sha256, other.split) != (first.val_sha256, first.split):
            raise ConfigError(
                f"'{first.corpus}' and '{other.corpus}' have different validation texts "
                f"({first.val_sha256[:12]} and {other.val_sha256[:12]}); compare them one at a time"
            )
    rungs: dict[tuple[str, str, str | None], Rung] = {}
    for rung in (rung for ladder in ladders for rung in ladder.rungs):
        rungs.setdefault((rung.name, rung.vocabulary, rung.run), rung)
    return replace(first, rungs=tuple(sorted(rungs.values(), key=lambda r: -r.bits_per_char)))


def _uniform(data: TokenDataset, tokenizer: Tokenizer) -> Rung:
    """Every token equally likely: ln V nats, whatever the text."""
    split = score_split(data)
    loss = measured(math.log(tokenizer.vocab_size) * (len(data.ids(split)) - 1), data, split)
    return build_rung("uniform", None, tokenizer, loss, 0.0)


def _bigram(data: TokenDataset, tokenizer: Tokenizer, ngram: NgramLanguageModel) -> Rung:
    start = time.perf_counter()
    if tokenizer.vocab_size > LARGEST_TABLE:
        model = ngram.to_order(min(2, ngram.order))
        note = f"Kneser-Ney, order {model.order}: {tokenizer.vocab_size:,} tokens make too large a table"
        return score_rung("bigram", model, data, tokenizer, time.perf_counter() - start, note=note)
    table, laplace = fit_bigram(data, tokenizer)
    seconds = time.perf_counter() - start
    return score_rung(
        "bigram", table, data, tokenizer, seconds, note=f"counts, Laplace {laplace:g}{_sampled(data, data.thinned())}"
    )
