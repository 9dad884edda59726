"""The trick as pictures: the scores, the weights, and what they make of the vectors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from clearhead.figures.theme import DIVERGING, SEQUENTIAL, TEMPLATE, token_axis
from clearhead.inspection.trick import Trick


def figures(view: Trick) -> dict[str, go.Figure]:
    """One figure: wei @ x = the averages of the past."""
    return {"trick": trick_figure(view)}


def trick_figure(view: Trick) -> go.Figure:
    """Weights times vectors, cell by cell, with their numbers."""
    k, far = len(view.x), float(np.abs(view.x).max()) or 1.0
    tokens = token_axis(list(view.tokens[:k]), tickangle=0)
    channels = token_axis(list(view.channels), "number", tickangle=0)
    signed = {"colorscale": DIVERGING, "reversescale": True, "zmin": -far, "zmax": far}
    past = np.where(np.tri(k, dtype=bool), view.weights, np.nan)
    parts = [
        ("wei", past, tokens, {"colorscale": SEQUENTIAL, "zmin": 0, "zmax": 1}),
        ("x", view.x, channels, signed),
        ("wei @ x", view.averages, channels, signed),
    ]
    made = make_subplots(
        1, 3, subplot_titles=[name for name, *_ in parts], column_widths=[0.5, 0.25, 0.25], horizontal_spacing=0.06
    )
    for column, (name, values, axis, look) in enumerate(parts, start=1):
        made.add_trace(_cells(values, name, **look), 1, column)
        made.update_xaxes(axis, row=1, col=column)
        made.update_yaxes({**tokens, "autorange": "reversed", "zeroline": False}, row=1, col=column)
    made.update_layout(
        template=TEMPLATE,
        title_text=f"Averaging the past: the first {k} tokens<br><sup>x: {view.vectors}; "
        f"the four ways differ by {max(way.difference for way in view.ways):.1e} at most</sup>",
        height=180 + 42 * k,
        margin={"t": 110},
    )
    return made


def _cells(values: npt.NDArray[np.float64], name: str, **look: Any) -> go.Heatmap:
    shown = [[None if np.isnan(v) else float(v) for v in row] for row in values]
    return go.Heatmap(
        z=shown, texttemplate="%{z:.2f}", hovertemplate=f"{name}: %{{z:.4f}}<extra></extra>", showscale=False, **look
    )
