"""A sample of a text that is too large to be counted whole: pieces from all over it, always the same."""

from typing import cast

import numpy as np

from clearhead.data.joined import JoinedIds
from clearhead.tokenizers.base import Ids

SEED = 1337
"""Fixed: what is counted of a text is a property of the text, not of a run."""
PIECE = 1 << 20
"""Tokens of a piece, at most."""


def sample(ids: Ids, parts: int, *, separated: bool) -> Ids:
    """One in `parts` pieces of a stream (n,), in order, as one stream; all of it for 1.

    Of a stream of documents (eot d1 eot ... dn eot) each piece is its whole documents, where it holds any. Where one
    document is longer than a piece, the last tokens of a piece stand before the first of the next as if they had
    followed: a few in a million.

    >>> len(sample(np.zeros(5 * PIECE, dtype=np.uint16), 4, separated=False)) / PIECE
    2.0
    """
    if parts == 1:
        return ids
    count = -(-len(ids) // PIECE)
    chosen = np.sort(np.random.default_rng(SEED).permutation(count)[: -(-count // parts)])
    pieces = [ids[start : start + PIECE] for start in (chosen * PIECE).tolist()]
    if separated:
        eot = ids[:1]
        pieces = [_whole_documents(piece, int(eot[0])) for piece in pieces] + [eot]
    return cast(Ids, JoinedIds(pieces))


def _whole_documents(piece: Ids, eot: int) -> Ids:
    """From the first end-of-text to before the last; where there are no two, the piece but for one at its end."""
    ends = np.flatnonzero(piece == eot)
    if len(ends) > 1:
        return piece[ends[0] : ends[-1]]
    return piece[: len(piece) - int(piece[-1] == eot)]
