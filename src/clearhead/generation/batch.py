"""Many texts that grow side by side: rows come and go between steps, and none notices the others.

    batch = Batch(model, slots=8)
    slot = batch.admit(ids, SamplingConfig(temperature=0.8, seed=7))
    for drawn in batch.step():      # one token for every row that was admitted and not released
        ...
    batch.release(slot)

Shapes: n live rows, V vocabulary. A model sees at most its `block_size`; `window_start` says what it sees of a
longer context.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError
from clearhead.generation.drafting import Drafts, drafts_of
from clearhead.generation.sampling import chances, draw, likeliest, penalise, probabilities
from clearhead.models.base import LanguageModel, evaluating
from clearhead.models.decoding import decoder_of


def window_start(length: int, block_size: int | None) -> int:
    """Where the window begins that a model sees of `length` tokens: the overflow rule.

    All tokens while they fit. When one too many has come, only the newest block_size // 2 stay (at least 1), and
    the window grows again from there: the cache is filled anew once per half context, not once per token.

    >>> [length - window_start(length, 8) for length in (7, 8, 9, 10, 13, 14)]
    [7, 8, 4, 5, 8, 4]
    """
    if block_size is None or length <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(length - block_size) // stride) * stride


class Drawn(NamedTuple):
    """One token of one row."""

    slot: int
    """Of the row, as `admit` returned it."""
    token: int
    logprob: float | None = None
    """Its natural log-probability by the model itself, before temperature, cuts, bias and penalty; None unless
    `SamplingConfig.logprobs` asks."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens and their log-probabilities, as many as asked, the likeliest first."""


@dataclass
class _Row:
    slot: int
    ids: list[int]
    """All that is known; the last token is not in the cache yet."""
    sampling: SamplingConfig
    chances: np.random.Generator
    """What it is drawn with, after `upcoming`."""
    seen: Tensor | None
    """(V,) bool: what the text holds, where the penalty asks."""
    start: int = 0
    """Where the window begins that the cache holds."""
    upcoming: list[float] = field(default_factory=list)

    def foresee(self, count: int) -> list[float]:
        """The numbers that the next `count` tokens will be drawn with."""
        self.upcoming.extend(self.chances.random(max(0, count - len(self.upcoming))))
        return self.upcoming[:count]

    def chance(self) -> float:
        """The number that the next token is drawn with."""
        return self.upcoming.pop(0) if self.upcoming else self.chances.random()

    def take(self, token: int) -> None:
        """Grow by a token."""
        self.ids.append(token)
        if self.seen is not None:
            self.seen[token] = True


class Batch:
    """Draws one token at a time for up to `slots` rows, from any model, into a cache that is allocated once.

    Every row has its own prompt, settings and random numbers: what is drawn for it depends on (seed, row, step)
    alone. Its logits are those of a batch of one within 1e-5 (sums are taken in another order; 1e-2 by bfloat16, see
    `models/weights.py`), so a text differs only where a random number falls within that of the border of two tokens.

    A step reads the newest token of all rows at once, and synchronises with the device once, for the logits. A row
    whose window is full is read anew from where the overflow rule says. With `guess` a lone row may be read ahead,
    where that pays (`drafting.py`); its text is the same. Not thread-safe.
    """

    def __init__(
        self,
        model: LanguageModel,
        slots: int,
        *,
        forbidden: Sequence[int] = (),
        use_cache: bool = True,
        guess: bool = True,
    ) -> None:
        self.model, self.slots, self.use_cache = model, slots, use_cache
        self.forbidden = list(forbidden)
        self.cache = model.new_cache(slots if use_cache else 0)
        self._decode = decoder_of(model, self.cache)
        self._drafts = drafts_of(self._decode) if use_cache and guess else None
        self._rows: list[_Row] = []  # row i is row i of the cache
        self._unused = list(range(slots))[::-1]

    def __len__(self) -> int:
        """How many rows are alive."""
        return len(self._rows)

    @property
    def free(self) -> int:
        """How many more rows may be admitted."""
        return len(self._unused)

    def admit(self, ids: Sequence[int], sampling: SamplingConfig, *, row: int = 0) -> int:
        """Take in a prompt, at least one token, and return its slot, a number below `slots`.

        `row` is the text's number among the samples of its seed. All but the prompt's last token is read here.
        ConfigError for no token, one outside the vocabulary, and when all slots are taken.
        """
        self._check(ids, sampling)
        seen = None
        if sampling.repetition_penalty != 1.0:
            seen = torch.zeros(self.model.vocab_size, dtype=torch.bool)
            seen[list(ids)] = True
        if self.model.block_size is None:
            ids = ids[-max(1, self.model.context) :]  # a count model looks no further back
        new = _Row(self._unused.pop(), list(ids), sampling, chances(sampling.seed, row), seen)
        if self._drafts:
            self._drafts.forget()
        twin = next((i for i, other in enumerate(self._rows) if other.ids == new.ids), None)
        self._rows.append(new)
        if not self.use_cache:
            return new.slot
        if twin is not None:  # the same prompt is read once
            new.start = self._rows[twin].start
            self.cache.copy_row(twin, len(self._rows) - 1)
        else:
            self._fill(len(self._rows) - 1)
        return new.slot

    def release(self, slot: int) -> None:
        """Forget a row; its slot is free again. ConfigError when there is no such row."""
        at = next((i for i, row in enumerate(self._rows) if row.slot == slot), None)
        if at is None:
            raise ConfigError(f"slot={slot} holds no row; it was released, or never admitted")
        if self._drafts:
            self._drafts.forget()
        last = self._rows.pop()
        if at < len(self._rows):  # live rows stay side by side
            self._rows[at] = last
            if self.use_cache:
                self.cache.copy_row(len(self._rows), at)
        self._unused.append(slot)

    def step(self) -> list[Drawn]:
        """Draw the next token of every row, in no particular order. ConfigError when logits are not finite."""
        if not self._rows:
            return []
        logits = self._logits()
        tokens = self._draw(logits).tolist()
        told = [_told(row, token, logits, i) for i, (row, token) in enumerate(zip(self._rows, tokens, strict=True))]
        for row, token in zip(self._rows, tokens, strict=True):
            row.take(token)
        return told

    def _check(self, ids: Sequence[int], sampling: SamplingConfig) -> None:
        V = self.model.vocab_size
        if not ids:
            raise ConfigError("there is no token to go on from; a model continues at least one, such as a line end")
        if not 0 <= min(ids) <= max(ids) < V:
            worst = max(ids) if max(ids) >= V else min(ids)
            raise ConfigError(f"token id {worst} is outside a vocabulary of {V}; encode with the model's tokenizer")
        if outside := [token for token, _ in sampling.logit_bias if token >= V]:
            raise ConfigError(f"logit_bias={outside[0]} is outside a vocabulary of {V}; name one of its ids")
        if not self._unused:
            raise ConfigError(f"all {self.slots} slots are taken; release one first")

    def _logits(self) -> Tensor:
        """Logits (n, V) on the CPU after every row."""
        with evaluating(self.model):
            if not self.use_cache:
                return torch.cat([_logits_after(self.model, row.ids) for row in self._rows])
            for i, row in enumerate(self._rows):
                if window_start(len(row.ids), self.model.block_size) != row.start:
                    self._fill(i)
            if self._drafts and len(self._rows) == 1:
                return self._drafted(self._drafts, self._rows[0])
            return self._decode([row.ids[-1] for row in self._rows])

    def _drafted(self, drafts: Drafts, row: _Row) -> Tensor:
        """Logits (1, V) after the only row."""
        assert self.model.block_size is not None, "a mixture has a window"
        room = self.model.block_size - (len(row.ids) - 1 - row.start)
        return drafts.after(row.ids[-1], room, row.foresee, row.sampling.temperature)

    def _fill(self, i: int) -> None:
        """Read into row i of the cache the window that it may see, but for the last token."""
        row, cache = self._rows[i], self.cache.rows(slice(i, i + 1))
        row.start = window_start(len(row.ids), self.model.block_size)
        cache.reset()
        if self._drafts:
            self._drafts.forget()
        with evaluating(self.model):
            if row.start:
                cache.precede(_before(self.model, row.ids, row.start))
            if window := row.ids[row.start : -1]:
                self.model(torch.tensor([window], device=self.model.device), cache=cache)

    def _draw(self, logits: Tensor) -> Tensor:
        """The next tokens (n,), from logits (n, V) that stay as they are."""
        logits = logits.clone()
        if self.forbidden:
            logits[:, self.forbidden] = float("-inf")
        groups: dict[tuple[float, int | None, float | None, float | None], list[int]] = {}
        for i, row in enumerate(self._rows):
            asked = row.sampling
            if row.seen is not None or asked.logit_bias:
                _adjust(logits[i], row)
            groups.setdefault((asked.temperature, asked.top_k, asked.top_p, asked.min_p), []).append(i)
        if all(settings[0] == 0 for settings in groups):
            return likeliest(logits)
        u = torch.tensor([row.chance() for row in self._rows], dtype=torch.float64)
        if len(groups) == 1:
            return draw(probabilities(logits, *next(iter(groups))), u)
        tokens = torch.empty(len(self._rows), dtype=torch.long)
        for settings, group in groups.items():
            tokens[group] = draw(probabilities(logits[group], *settings), u[group])
        return tokens


def _told(row: _Row, token: int, logits: Tensor, i: int) -> Drawn:
    """What a row's step is reported as, from row i of logits (n, V)."""
    count = row.sampling.logprobs
    if count is None:
        return Drawn(row.slot, token)
    logprobs = logits[i].double().log_softmax(-1)
    top = logprobs.topk(min(count, len(logprobs)))
    likeliest = tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    return Drawn(row.slot, token, float(logprobs[token]), likeliest)


def _adjust(logits: Tensor, row: _Row) -> None:
    """Change a row's logits (V,) in place by its penalty, then its bias."""
    if row.seen is not None:
        logits.copy_(penalise(logits, row.seen, row.sampling.repetition_penalty))
    for token, bias in row.sampling.logit_bias:
        logits[token] += bias


def logits_after(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    """Logits (1, V) on the CPU after a text, its whole window read anew: the slow twin of `Batch`."""
    with evaluating(model):
        return _logits_after(model, ids)


def _logits_after(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    start = window_start(len(ids), model.block_size)
    cache = model.cache_after(_before(model, ids, start)) if start else None
    return model(torch.tensor([ids[start:]], device=model.device), cache=cache).logits[:, -1].cpu()


def _before(model: LanguageModel, ids: Sequence[int], start: int) -> Tensor:
    """The tokens (1, L) before a window that the model looks back to; none for most models."""
    before = ids[max(0, start - model.lookback) : start]
    return torch.tensor([before], dtype=torch.long, device=model.device)
