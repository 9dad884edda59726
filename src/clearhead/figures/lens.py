"""The lens as pictures: what each place says, how it nears the end, the parts of a logit, where two texts part."""

import plotly.graph_objects as go

from clearhead.figures.theme import BLUE, DIVERGING, GREEN, MONOSPACE, ORANGE, RED, SEQUENTIAL, figure, token_axis
from clearhead.inspection.decomposition import Decomposition
from clearhead.inspection.lens import Lens
from clearhead.inspection.patching import Patching

SHOWN = 40
"""Positions of a grid, the last ones; fewer of long tokens."""
ACROSS = 120
"""Characters across which the tokens of a grid must fit."""


def figures(view: Lens) -> dict[str, go.Figure]:
    """The grid, the averages through depth, the parts, and what patching does where it was asked for."""
    found = {"lens": grid_figure(view), "depth": depth_figure(view), "parts": parts_figure(view.decomposition)}
    return found | (
        {"patching": patching_figure(view.patching)} if view.patching and view.patching.normalised is not None else {}
    )


def grid_figure(view: Lens) -> go.Figure:
    """Places by positions: the likeliest token in the cell, its probability as colour."""
    read, T = view.readings, len(view.tokens)
    widest = max(len(token) for row in (view.tokens, *read.favourites) for token in row)
    shown = min(T, SHOWN, max(1, ACROSS // (widest + 1)))
    first = T - shown
    favourites = [list(row[first:]) for row in read.favourites]
    apart = read.divergence[:, first:]
    drawn = go.Heatmap(
        z=read.probability[:, first:],
        text=favourites,
        customdata=apart,
        texttemplate="%{text}",
        textfont={"family": MONOSPACE},
        hovertemplate="%{y}, %{x}: %{text} %{z:.1%}<br>KL to the end %{customdata:.3f} bits<extra></extra>",
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=1,
        colorbar={"title": "probability"},
    )
    names = list(view.tokens[first:])
    short = max(map(len, names)) < 3
    cut = f", the last {shown} of {T} positions" if first else ""
    return figure(
        drawn,
        title=f"Logit lens: the likeliest next token at every place{cut}",
        xaxis=token_axis(names, "after" if short else "", tickangle=0 if short else -60),
        yaxis=token_axis(list(read.places)),
        height=160 + 36 * len(read.places),
    )


def depth_figure(view: Lens) -> go.Figure:
    """Bits of the true next token and KL to the end, through depth."""
    read = view.readings
    lines = [("true next token", read.surprisal, BLUE), ("KL to the end", read.divergence, ORANGE)]
    drawn = [
        go.Scatter(
            x=list(read.places), y=values.mean(1).tolist(), name=name, mode="lines+markers", line={"color": colour}
        )
        for name, values, colour in lines
        if values.shape[1]
    ]
    return figure(
        *drawn,
        title=f"How the answer forms: mean over {len(view.tokens)} positions",
        yaxis={"title": "bits per token", "rangemode": "tozero"},
    )


def parts_figure(found: Decomposition) -> go.Figure:
    """The sum as a waterfall: what each part adds, in the order of the model."""
    centred = found.against is None
    values = [part.centred if centred else part.logit for part in found.parts]
    drawn = go.Waterfall(
        x=[*(part.name for part in found.parts), "sum"],
        y=[*values, sum(values)],
        measure=["relative"] * len(values) + ["total"],
        increasing={"marker": {"color": GREEN}},
        decreasing={"marker": {"color": RED}},
        totals={"marker": {"color": BLUE}},
        connector={"line": {"width": 0.5}},
        hovertemplate="%{x}: %{delta:+.4f}<extra></extra>",
    )
    less = ", less the mean over the vocabulary" if centred else ""
    return figure(
        drawn,
        title=f"The {found.what} after position {found.position}, part by part"
        f"<br><sup>{found.norm}; parts miss the model's logits by {found.error:.1e} at most</sup>",
        yaxis={"title": f"logit{less}"},
        xaxis={"tickangle": -60},
        showlegend=False,
    )


def patching_figure(found: Patching) -> go.Figure:
    """Depths by positions: how far the difference of logits moves from B's value to A's."""
    labels = [a if a == b else f"{b} → {a}" for a, b in zip(found.tokens, found.other, strict=True)]
    assert found.normalised is not None
    first = max(0, found.position + 1 - SHOWN)
    shown = slice(first, found.position + 1)
    drawn = go.Heatmap(
        z=found.normalised[:, shown],
        customdata=found.raw[:, shown],
        hovertemplate="%{y}, %{x}: %{z:.3f}<br>difference of logits %{customdata:.4f}<extra></extra>",
        colorscale=DIVERGING,
        reversescale=True,
        zmid=0,
        colorbar={"title": "0 as B<br>1 as A"},
    )
    return figure(
        drawn,
        title=f"Patching A's stream into B: logit of {found.token} less logit of {found.against}"
        f"<br><sup>A {found.own:+.3f}, B {found.others:+.3f}; one place at a time</sup>",
        xaxis=token_axis(labels[shown], "position of the text (B → A where they differ)", tickangle=0),
        yaxis=token_axis(list(found.depths)),
        height=220 + 40 * len(found.depths),
    )
