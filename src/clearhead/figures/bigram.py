"""A table beside its counts: the gap over steps, the rows that cost most, heatmaps; of a pair its row."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearhead.figures.theme import BLUE, DIVERGING, GREEN, GREY, MONOSPACE, ORANGE, SEQUENTIAL, figure, token_axis
from clearhead.inspection.bigram import Bigram
from clearhead.inspection.pair import Pair

ROWS = 20
"""Bars of a figure."""
TICKS = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0]
"""Shares along a colour bar: colours go by the square root, for most shares are small."""


def figures(view: Bigram) -> dict[str, go.Figure]:
    """Of a pair its row; else the gap through training, where it is known, the costly rows, and the three tables."""
    if view.pair:
        return {"row": row_figure(view.pair), "difference": difference_figure(view)}
    found = {"history": history_figure(view)} if len(view.history) > 1 else {}
    if view.rows:
        found["rows"] = rows_figure(view)
    tables = {"counts": counts_figure(view), "softmax": softmax_figure(view), "difference": difference_figure(view)}
    return found | tables


def history_figure(view: Bigram) -> go.Figure:
    """The gap and its parts over steps, on a log scale."""
    steps = [moment.step for moment in view.history]
    parts = [("gap", BLUE, "lines+markers"), ("leak", ORANGE, "lines"), ("misfit", GREEN, "lines")]
    values = {name: [_positive(getattr(moment, name)) for moment in view.history] for name, *_ in parts}
    lines = [go.Scatter(x=steps, y=values[name], name=name, mode=how, line={"color": c}) for name, c, how in parts]
    there = [view.threshold, *(y for ys in values.values() for y in ys if y is not None)]
    made = figure(
        *lines,
        title=f"{view.run}: how far the table is from the best there is",
        xaxis={"title": "step"},
        yaxis={
            "title": "bits per token above the floor",
            "type": "log",
            "range": [math.log10(min(there)) - 0.1, math.log10(max(there)) + 0.1],
            "dtick": 1,
            "minor": {"dtick": "D1", "showgrid": True, "gridcolor": "#F3F3F3"},
            "exponentformat": "none",
        },
    )
    made.add_hline(y=view.threshold, line={"color": GREY, "dash": "dash"})
    made.add_annotation(
        text=f"stabilised below {view.threshold:g} bits",
        x=0,
        xref="paper",
        xanchor="left",
        yanchor="bottom",
        y=math.log10(view.threshold),
        showarrow=False,
        font={"color": GREY},
    )
    return made


def _positive(value: float) -> float | None:
    """A value that a log scale can show."""
    return value if value > 0 else None


def rows_figure(view: Bigram) -> go.Figure:
    """What the costliest rows add to the gap."""
    shown = view.rows[:ROWS]
    bars = go.Bar(
        x=list(range(len(shown))),
        y=[row.part * view.bits.gap for row in shown],
        customdata=[[row.token, row.count, row.bits, row.leaked, row.why] for row in shown],
        hovertemplate="%{customdata[0]}, %{customdata[1]:,} times current: %{y:.5f} bits<br>"
        "own KL %{customdata[2]:.4f} bits, leaks %{customdata[3]:.2%}<br>%{customdata[4]}<extra></extra>",
        marker_color=BLUE,
    )
    return figure(
        bars,
        title=f"The rows that are furthest from their counts, by what they add to the gap of {view.bits.gap:.4f} bits",
        xaxis=token_axis([row.token for row in shown], "current token"),
        yaxis={"title": "bits per token"},
    )


def counts_figure(view: Bigram) -> go.Figure:
    """p(next | current) of the text."""
    return _heatmap(view, view.drawn.share, "The text: share of each next token after the current one")


def softmax_figure(view: Bigram) -> go.Figure:
    """The table as probabilities."""
    said = "softmax of the table" if view.stabilised is not None else "what it says on average"
    return _heatmap(view, view.drawn.probability, f"{view.run}: {said}")


def difference_figure(view: Bigram) -> go.Figure:
    """The table less the counts."""
    away = view.drawn.probability - view.drawn.share
    most = float(np.nanmax(np.abs(away), initial=0.0)) or 1.0
    limit = max(1e-3, float(np.nanquantile(np.abs(away), 0.995)))
    title = f"{view.run} less the text: {most:.3f} at most (colours end at {limit:.3f})"
    look = {"colorscale": DIVERGING, "reversescale": True, "zmid": 0, "zmin": -limit, "zmax": limit}
    return _tables(view, away, title, colorbar={"title": "difference", "thickness": 12}, **look)


def _heatmap(view: Bigram, shares: npt.NDArray[np.float64], title: str) -> go.Figure:
    bar = {
        "title": "share",
        "tickvals": np.sqrt(TICKS).tolist(),
        "ticktext": [f"{t:g}" for t in TICKS],
        "thickness": 12,
    }
    return _tables(view, np.sqrt(shares), title, colorscale=SEQUENTIAL, zmin=0, zmax=1, colorbar=bar)


def _tables(view: Bigram, z: npt.NDArray[np.float64], title: str, **look: Any) -> go.Figure:
    """A square of tokens; hovering tells the count, the share and the probability of a cell."""
    drawn, k = view.drawn, len(view.drawn.tokens)
    about = np.stack([drawn.counts, drawn.share, drawn.probability], axis=-1)
    heatmap = go.Heatmap(
        z=z,
        customdata=about,
        hovertemplate="%{y} then %{x}: %{customdata[0]:,} times, share %{customdata[1]:.4f}, "
        "table %{customdata[2]:.4f}<extra></extra>",
        x=list(range(k)),
        y=list(range(k)),
        **look,
    )
    some = f" (the {k} most frequent of {len(view.tokens):,} tokens)" if k < len(view.tokens) else ""
    small = {"tickfont": {"family": MONOSPACE, "size": 9 if k > 50 else 11}}
    return figure(
        heatmap,
        title=title + some,
        xaxis=token_axis(list(drawn.tokens), "next", **small, tickangle=0 if max(map(len, drawn.tokens)) < 3 else -90),
        yaxis=token_axis(list(drawn.tokens), "current", **small, autorange="reversed"),
        height=max(480, 160 + 13 * k),
    )


def row_figure(pair: Pair) -> go.Figure:
    """One row: the text's shares and the table's probabilities of the likeliest successors."""
    shown = list(pair.row[:ROWS])
    shown += [s for s in pair.row[ROWS:] if s.token == pair.following]
    at = list(range(len(shown)))
    bars = [go.Bar(x=at, y=[s.share for s in shown], name="share in the text", marker_color=GREY)] * (
        shown[0].share is not None
    )
    colours = [ORANGE if s.token == pair.following else BLUE for s in shown]
    bars.append(go.Bar(x=at, y=[s.probability for s in shown], name="table", marker_color=colours))
    return figure(
        *bars,
        title=f"After {pair.current}: {pair.following} {pair.count:,} of {pair.of:,} times in the text, "
        f"the table says {pair.probability:.2%}",
        xaxis=token_axis([s.token for s in shown], f"next token, the {len(shown)} likeliest"),
        yaxis={"title": "probability", "tickformat": ".0%"},
        barmode="group",
    )
