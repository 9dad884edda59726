"""A mixture's next token: its GPT's step, then the n-gram's row and the gate, compiled where there is a compiler.

There the n-gram also drafts: the GPT reads its guesses at once, `generation/drafting.py` judges them.

The structures are those of `mixture_step.c`, field for field.

Shapes: n rows, V vocabulary.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clearhead.models.gpt_compiled import CompiledDecoder
from clearhead.models.mixture import MixtureCache, MixtureLanguageModel, log_odds, mixed
from clearhead.models.ngram import NgramLanguageModel

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class _Level(ctypes.Structure):
    _fields_ = [
        *((name, _POINTER) for name in ("keys", "raw", "continuation", "starts")),
        ("top", ctypes.c_double * 4),
        ("lower", ctypes.c_double * 4),
    ]


class _Mixture(ctypes.Structure):
    _fields_ = [
        *((name, _INT) for name in ("order", "vocab", "eot")),
        *((name, _POINTER) for name in ("level", "floor", "gate")),
    ]


class Drafted(NamedTuple):
    """n tokens of a row that were read at once: the first is known, the others are guesses."""

    ids: list[int]
    logits: Tensor
    """(n, V): what the GPT says after each, right as long as all guesses before are."""
    counted: Tensor
    """(n, V) float64: the n-gram's probabilities."""
    seen: list[int]
    """(n,) how often the n-gram's longest known context was."""


class MixtureDecoder:
    """`Decode` for a mixture: `gpt` decodes its GPT into the cache's keys; the rest is the model's own formulas."""

    def __init__(
        self, model: MixtureLanguageModel, cache: MixtureCache, gpt: Callable[[Sequence[int]], Tensor]
    ) -> None:
        self.model, self.cache, self.gpt = model, cache, gpt

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Logits (n, V) after the next tokens of the first n rows of the cache."""
        n = len(ids)
        read = self.cache.keys.lengths[:n].clone()[:, None]  # (n, 1), before the GPT moves the lengths
        neural = self.gpt(ids)[:, None]  # (n, 1, V)
        contexts = self.model.ngram.look_up(torch.tensor(ids)[:, None], self.cache.history.rows(slice(n)))
        said = self.model.opinions(contexts, neural, read)
        return mixed(said.counted, said.neural, log_odds(self.model.gate, said.known)[..., None])[:, 0]


class CompiledMixtureDecoder:
    """`MixtureDecoder` by `mixture_step.c`, for a mixture in main memory with a gate in float32."""

    def __init__(
        self, model: MixtureLanguageModel, cache: MixtureCache, gpt: CompiledDecoder, steps: ctypes.CDLL
    ) -> None:
        steps.mix.argtypes, steps.mix.restype = [*[_POINTER] * 5, _INT, _POINTER, _POINTER], None
        steps.draft.argtypes = [*[_POINTER] * 3, _INT, _INT, _POINTER, ctypes.c_double, _POINTER, _POINTER]
        steps.weigh.argtypes = [*[_POINTER] * 3, _INT, _INT]
        steps.draft.restype = steps.weigh.restype = None
        self.cache, self.gpt, self.steps, self.V = cache, gpt, steps, model.vocab_size
        ngram = model.ngram
        levels = (_Level * ngram.order)(*(_level(ngram, i) for i in range(ngram.order)))
        floor = np.ascontiguousarray(ngram.floor())
        self.kept = model, levels, floor
        eot = -1 if ngram.eot_id is None else ngram.eot_id
        level = ctypes.cast(levels, _POINTER)
        self.mixture = _Mixture(ngram.order, self.V, eot, level, floor.ctypes.data, model.gate.data_ptr())

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Logits (n, V) after the next tokens of the first n rows of the cache."""
        n, history = len(ids), self.cache.history
        read = self.cache.keys.lengths[:n].clone()  # before the GPT moves the lengths
        logits = self.gpt(ids).contiguous()
        scratch = torch.empty(self.V, dtype=torch.float64)
        places = history.tokens.data_ptr(), history.lengths.data_ptr(), read.data_ptr()
        self.steps.mix(ctypes.byref(self.mixture), (_INT * n)(*ids), *places, n, logits.data_ptr(), scratch.data_ptr())
        history.lengths[:n] += 1
        return logits

    def draft(self, token: int, chances: Sequence[float], temperature: float) -> Drafted:
        """Read the next token of the first row, and guesses at those that will follow; the row forgets them again.

        The n-gram alone draws a guess by each of the chances.
        """
        n, mixture, history = 1 + len(chances), ctypes.byref(self.mixture), self.cache.history
        ids, seen, u = (_INT * n)(token), (_INT * n)(), (ctypes.c_double * n)(*chances)
        tokens, told = history.tokens[0].clone(), int(history.lengths[0])
        counted = torch.empty(n, self.V, dtype=torch.float64)
        sharpness = 1 / temperature if temperature else math.inf
        self.steps.draft(mixture, ids, tokens.data_ptr(), told, n, u, sharpness, counted.data_ptr(), seen)
        return Drafted(ids[:], self.gpt.ahead(ids[:]), counted, seen[:])

    def accept(self, drafted: Drafted, index: int) -> Tensor:
        """Count a token that `draft` read as the first row's next; logits (1, V) after it."""
        read, logits = int(self.cache.keys.lengths[0]), drafted.logits[index : index + 1]
        counted, seen = drafted.counted[index].data_ptr(), drafted.seen[index]
        self.steps.weigh(ctypes.byref(self.mixture), logits.data_ptr(), counted, seen, read)
        self.cache.history.rows(slice(1)).extend(torch.tensor([[drafted.ids[index]]]))
        self.cache.keys.lengths[:1] += 1
        return logits


def _level(ngram: NgramLanguageModel, index: int) -> _Level:
    level, top = ngram.levels[index], ngram.tops[index]
    lower = ngram.lowers[index] if index < len(ngram.lowers) else top
    arrays = level.keys, level.raw, level.continuation, level.starts
    pointers = (array.ctypes.data for array in arrays)
    return _Level(*pointers, (ctypes.c_double * 4)(*top.discounts), (ctypes.c_double * 4)(*lower.discounts))
