"""Losses of runs on one axis: the same pieces of one validation text, whatever the tokenizers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from clearhead.config import UNKNOWN_BITS
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError
from clearhead.tokenizers.base import Tokenizer, token_bytes

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Scored:
    """What a run's model made of its validation text."""

    run: str
    model: str
    """The kind of the model that was scored."""
    tokenizer: Tokenizer
    data: TokenDataset
    losses: Float64
    """Nats (n - 1,) of each of the n validation tokens but the first."""


@dataclass(frozen=True)
class Pieces:
    """A text in pieces, one after another; the bits that every run needs for each."""

    bits: Float64
    """(R, n), those for hidden characters too: all bits of a run are those of `loss.measured`."""
    characters: Float64
    """(n,); where a piece hides characters, as many as its unknown tokens hide on average."""


def same_tokens(scored: Sequence[Scored]) -> bool:
    """Whether all runs read the text in the same tokens."""
    return len({run.tokenizer.fingerprint for run in scored}) == 1


def align(scored: Sequence[Scored]) -> Pieces:
    """The smallest pieces of the text that all runs can tell apart.

    Tokens, where the runs share a tokenizer. Else whole lines and documents: every tokenizer says where they end,
    and that needs no knowledge of how long an unknown token was. ConfigError when the tokenizers hide line ends.
    """
    starts = [_token_starts(run) for run in scored] if same_tokens(scored) else _line_starts(scored)
    bits = [np.add.reduceat(_bits(run), start) for run, start in zip(scored, starts, strict=True)]
    clearest = min(range(len(scored)), key=lambda number: scored[number].data.meta.hidden["val"])
    return Pieces(np.stack(bits), np.add.reduceat(_characters(scored[clearest]), starts[clearest]))


def _token_starts(run: Scored) -> Indices:
    """Where pieces start when each token is one; the first token, which nobody predicts, goes with the second."""
    return np.delete(np.arange(len(run.data.ids("val"))), 1)


def _line_starts(scored: Sequence[Scored]) -> list[Indices]:
    """Where in each run's tokens those lines start that start a token in all runs."""
    breaks = [_breaks(run) for run in scored]
    for run, (passed, _) in zip(scored[1:], breaks[1:], strict=True):
        if passed[-1] != breaks[0][0][-1]:
            raise ConfigError(
                f"the tokenizers of '{scored[0].run}' and '{run.run}' show {breaks[0][0][-1]:,} and {passed[-1]:,} "
                "line ends of the same text; compare runs whose tokenizers know the line end"
            )
    common = reduce(np.intersect1d, [passed[ends] for passed, ends in breaks])
    after = [1 + np.searchsorted(passed, common) for passed, _ in breaks]
    return [np.concatenate([[0], start[start < len(passed)]]) for start, (passed, _) in zip(after, breaks, strict=True)]


def _breaks(run: Scored) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """For each token (n,): how many line and document ends have passed at its end, and whether it ends with one."""
    texts = token_bytes(run.tokenizer)
    count = np.array([text.count(b"\n") for text in texts])
    ends = np.array([text.endswith(b"\n") for text in texts])
    if run.tokenizer.eot_id is not None:
        count[run.tokenizer.eot_id], ends[run.tokenizer.eot_id] = 1, True
    ids = run.data.ids("val")
    return np.cumsum(count[ids]), ends[ids]


def _bits(run: Scored) -> Float64:
    """Bits (n,) of each token: none for the first, and for an unknown one those of what it hides, too."""
    return np.concatenate([[0.0], run.losses / math.log(2)]) + UNKNOWN_BITS * _hidden(run)


def _characters(run: Scored) -> Float64:
    """Characters (n,) of each token; the bytes that go on with one (10xxxxxx) begin none."""
    count = np.array([sum(byte & 0xC0 != 0x80 for byte in text) for text in token_bytes(run.tokenizer)], dtype=float)
    for special in (run.tokenizer.eot_id, run.tokenizer.unk_id):
        if special is not None:
            count[special] = 0.0
    return count[run.data.ids("val")] + _hidden(run)


def _hidden(run: Scored) -> Float64:
    """Characters (n,) that each token hides: ids do not say which unknown token hid how many, so all hide alike."""
    unknown = run.data.ids("val") == run.tokenizer.unk_id
    return unknown * (run.data.meta.hidden["val"] / max(1, np.count_nonzero(unknown)))
