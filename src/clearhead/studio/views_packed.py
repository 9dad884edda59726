"""Views whose numbers are many, packed for the page: the patterns of all heads, one head's chain, the vectors."""

from typing import Any

import numpy as np

from clearhead.api import Run
from clearhead.figures.attention import reduced
from clearhead.inspection.attention import Attention, attention
from clearhead.inspection.chain import Chain
from clearhead.inspection.tables import labels, tables_of, token_counts
from clearhead.inspection.view import plain
from clearhead.studio.packed import pack

SIDE = 128
"""Cells along the side of a pattern in the grid, at most: of a longer text the largest weight of every block."""
CHAIN = ("q", "k", "v", "products", "scores", "wei", "wei_unscaled", "out")


def attention_packed(
    run: Run, text: str | None = None, layer: int | None = None, head: int | None = None, position: int = -1
) -> bytes:
    """Every head's pattern on a text, as `wei` (L, nh, n, n) for a grid; with a layer and a head its chain, whole.

    What heads are worth is no part of it: that takes seconds, and is found in the view itself.
    """
    found = attention(
        run.model, run.tokenizer, text, None if text is not None else run.data, layer=layer, head=head,
        position=position, measure=False, run=run.directory.name,
    )  # fmt: skip
    document = {"step": run.step, **{name: plain(getattr(found, name)) for name in _TOLD}}
    if found.chain is None:
        grid, cell = _grid(found)
        return pack({**document, "cell": cell}, {"wei": grid})
    return pack({**document, **_scalars(found.chain)}, _stages(found, found.chain))


_TOLD = ("title", "tokens", "notes", "layers", "heads", "head_size", "logits_error", "attention_error", "on_text")


def _grid(found: Attention) -> tuple[np.ndarray, int]:
    """(L, nh, n, n) largest weights of blocks of cells, and how many cells a block's side has."""
    small = [[reduced(wei, SIDE) for wei in layer] for layer in found.wei]
    return np.array([[weights for weights, _ in layer] for layer in small], np.float32), small[0][0][1]


def _scalars(chain: Chain) -> dict[str, Any]:
    return {name: getattr(chain, name) for name in ("layer", "head", "position", "scale", "causal")}


def _stages(found: Attention, chain: Chain) -> dict[str, np.ndarray]:
    stages = {name: getattr(chain, name) for name in CHAIN}
    return stages if found.saved is None else stages | {"saved": found.saved}


def vectors_packed(run: Run) -> bytes:
    """The vectors (V, C) of every table of a model, by the table's name, with the tokens and their counts."""
    tables = tables_of(run.model)
    counts = token_counts(run.data, run.tokenizer.vocab_size)
    document = {"step": run.step, "tokens": labels(run.tokenizer), "counts": counts.tolist()}
    about = {table.name: table.about for table in tables}
    return pack({**document, "about": about}, {table.name: table.vectors for table in tables})
