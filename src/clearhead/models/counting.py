"""Counting n-grams: which there are, how often each occurs, and how many different tokens it continues."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from clearhead.errors import CheckpointError, ConfigError, CorpusError
from clearhead.models.tally import CHUNK, Crew, count_windows
from clearhead.models.windows import Ids, Int32, Int64, Stream, Table, Windows, find

BYTES_PER_NGRAM = 20
"""Key 8, raw count 4, continuation count 4, start of its followers 4."""
MAX_BYTES = 600_000_000
"""What the tables of a model may take in memory unless said otherwise."""
MOST_TOKENS = 1 << 31
"""A stream of so many is not counted: counts have 32 bits."""


@dataclass(frozen=True, eq=False)
class Level:
    """The n distinct n-grams of one length k, in lexicographic order; an n-gram's id is its rank among them.

    The level of length 1 holds every token of the vocabulary, seen or not, so there the id is the token.
    """

    vocab_size: int
    contexts: int
    """How many n-grams of length k - 1 there are (1, the empty one, when k is 1)."""
    keys: Int64
    """(n,) ascending: the id of the first k - 1 tokens, times vocab_size, plus the last token."""
    raw: Int32
    """(n,) how often the n-gram occurs."""
    continuation: Int32
    """(n,) how many different tokens precede it, and besides how many of its occurrences nothing can precede:
    those that begin a document or the text. Empty at the greatest length, which no longer n-gram continues."""

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def starts(self) -> Int32:
        """(contexts + 1,): the n-grams of context c have the ids starts[c] .. starts[c + 1] - 1."""
        edges = np.arange(self.contexts + 1, dtype=np.int64)
        edges *= self.vocab_size
        return np.searchsorted(self.keys, edges).astype(np.int32)

    def find(self, contexts: npt.NDArray[np.int64], tokens: Ids) -> Int64:
        """Ids of n-grams by the id of their context (-1: never seen) and last token; -1 for those never seen."""
        return find(self.keys, contexts * self.vocab_size + tokens)


def named_arrays(levels: list[Level]) -> dict[str, npt.NDArray[Any]]:
    """The arrays that a checkpoint needs: the keys of tokens and what is not known at the top are left out."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for k, level in enumerate(levels, start=1):
        arrays[f"raw_{k}"] = level.raw
        if k > 1:
            arrays[f"keys_{k}"] = level.keys
        if k < len(levels):
            arrays[f"continuation_{k}"] = level.continuation
    return arrays


def levels_from_arrays(arrays: dict[str, npt.NDArray[Any]], vocab_size: int, order: int) -> list[Level]:
    """The levels that `named_arrays` took apart; CheckpointError when they are not tables of n-grams."""
    implied = {"keys_1": np.arange(vocab_size, dtype=np.int64), f"continuation_{order}": np.zeros(0, dtype=np.int32)}
    arrays = arrays | implied
    expected = {f"{part}_{k}" for part in ("keys", "raw", "continuation") for k in range(1, order + 1)}
    if odd := sorted(expected ^ arrays.keys()):
        raise _broken(f"{odd[0]} is {'missing' if odd[0] in expected else 'unknown'}")
    levels, contexts = [], 1
    for k in range(1, order + 1):
        keys, raw, continuation = (arrays[f"{part}_{k}"] for part in ("keys", "raw", "continuation"))
        if (keys.dtype, raw.dtype, continuation.dtype) != (np.int64, np.int32, np.int32) or keys.ndim != 1:
            raise _broken(f"level {k} has other types than 64 and 32 bit integers in one dimension")
        if raw.shape != keys.shape or continuation.shape != (keys.shape if k < order else (0,)):
            raise _broken(f"level {k} has {keys.shape} keys, {raw.shape} and {continuation.shape} counts")
        if len(keys) and not (keys[0] >= 0 and keys[-1] < contexts * vocab_size and np.all(keys[1:] > keys[:-1])):
            raise _broken(f"the keys of level {k} do not ascend within their {contexts} contexts")
        if min(raw.min(initial=1), continuation.min(initial=1)) < (k > 1):
            raise _broken(f"level {k} has counts below {int(k > 1)}")
        levels.append(Level(vocab_size, contexts, keys, raw, continuation))
        contexts = len(keys)
    return levels


def _broken(reason: str) -> CheckpointError:
    return CheckpointError(f"the n-gram tables are broken: {reason}; count the text again")


def check_ids(ids: Ids, vocab_size: int) -> None:
    """ConfigError when an id is outside the vocabulary: with tables, it would be read as another."""
    if ids.size and not (ids.min() >= 0 and ids.max() < vocab_size):
        worst = ids.max() if ids.max() >= vocab_size else ids.min()
        raise ConfigError(f"token id {worst} is outside a vocabulary of {vocab_size}; encode with its tokenizer")


def count_levels(
    ids: Stream,
    vocab_size: int,
    order: int,
    *,
    eot_id: int | None = None,
    max_bytes: int = MAX_BYTES,
    threads: int | None = None,
) -> list[Level]:
    """The n-grams of lengths 1 .. order of a stream of ids (N,), read in pieces.

    No n-gram reaches across an end-of-text: `eot_id` is the first token of one that begins a document, or the last.
    An end-of-text that opens the stream begins a document and is not counted as a token. Fewer levels come back
    where the next would take the tables past `max_bytes`, at least one in any case. What is counted does not depend
    on the threads. CorpusError when N >= 2**31, ConfigError when an id is outside the vocabulary.

    >>> [level.raw.tolist() for level in count_levels(np.array([0, 1, 0, 1, 1]), 2, 2)]
    [[2, 3], [2, 1, 1]]
    """
    if len(ids) >= MOST_TOKENS:
        raise CorpusError(f"{len(ids):,} tokens are too many to count in 32 bits; count a part of the text")
    for start in range(0, len(ids), CHUNK):
        check_ids(ids[start : start + CHUNK], vocab_size)
    with Crew.of(threads) as crew:
        tables = _count_tables(Windows(ids, vocab_size, eot_id), order, max_bytes // BYTES_PER_NGRAM, crew)
        opening = ids[:order]
        if eot_id is not None and len(opening) and opening[0] == eot_id:
            tables[0][1][eot_id] -= 1
        return _with_continuations(tables, vocab_size, opening, eot_id, crew)


def _count_tables(windows: Windows, order: int, room: int, crew: Crew) -> list[Table]:
    """Keys and raw counts of the n-grams of lengths 1 .. order, or of as many lengths as there is room for."""
    tables: list[Table] = []
    while True:
        wanted = min(order - windows.depth, windows.most_digits)
        tally = count_windows(windows, wanted, room - sum(len(keys) for keys, _ in tables), crew)
        more = tally.width == wanted and windows.depth + wanted < order
        deeper = tally.deeper() if more else None
        tables += tally.split()
        if deeper is None:
            return tables
        windows = deeper


def _with_continuations(
    tables: list[Table], vocab_size: int, opening: Ids, eot_id: int | None, crew: Crew
) -> list[Level]:
    """Levels with continuation counts, from the keys and raw counts of lengths 1 .. n and the first n ids."""
    levels = []
    contexts, suffixes = 1, np.zeros(vocab_size, dtype=np.int32)
    begun = None if eot_id is None else np.array([eot_id, eot_id + 1], dtype=np.int64)
    opener = -1 if len(opening) == 0 or opening[0] == eot_id else 0
    for k, (keys, raw) in enumerate(tables, start=1):
        continuation = np.zeros(0, dtype=np.int32)
        if k < len(tables):
            suffixes = _suffixes(tables[k][0], suffixes, keys, vocab_size, crew)
            continuation = np.bincount(suffixes, minlength=len(keys)).astype(np.int32)
            if begun is not None and k > 1:
                begun = np.searchsorted(keys, begun * vocab_size)
                continuation[slice(*begun)] = raw[slice(*begun)]
            if k <= len(opening):
                opener = int(find(keys, np.array([opener * vocab_size + int(opening[k - 1])]))[0])
                continuation[opener : opener + 1] += opener >= 0
        levels.append(Level(vocab_size, contexts, keys, raw, continuation))
        contexts = len(keys)
    return levels


def _suffixes(longer: Int64, suffixes: Int32, keys: Int64, vocab_size: int, crew: Crew) -> Int32:
    """The id of each n-gram of length k + 1 without its first token, from the same of length k, whose keys these
    are: what follows the suffix of its context is the suffix of the whole."""
    found = np.empty(len(longer), dtype=np.int32)

    def look_up(start: int) -> None:
        contexts, tokens = np.divmod(longer[start : start + size], vocab_size)
        found[start : start + size] = find(keys, suffixes[contexts].astype(np.int64) * vocab_size + tokens)

    size = max(1, CHUNK // crew.size)
    crew.each(look_up, range(0, len(longer), size))
    return found
