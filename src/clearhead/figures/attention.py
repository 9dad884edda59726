"""Heads as pictures: every pattern in a grid, what each head is worth, one head stage by stage."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from clearhead.figures.theme import BLUE, DIVERGING, ORANGE, SEQUENTIAL, TEMPLATE, figure, token_axis
from clearhead.inspection.attention import Attention, Chain, Floats

THUMBNAIL = 64
"""Cells along the side of a small pattern, at most."""
LARGEST = 256
"""Cells along the side of a large one."""
LABELLED = 48
"""Tokens whose names fit along an axis."""


def figures(view: Attention) -> dict[str, go.Figure]:
    """The patterns of all heads and their worth; of one head its pattern and its stages."""
    if view.chain:
        return {"pattern": pattern_figure(view.chain, view.tokens), "chain": chain_figure(view.chain, view.tokens)}
    found = {"patterns": grid_figure(view)}
    return found | ({"worth": worth_figure(view)} if view.scores else {})


def reduced(matrix: Floats, most: int) -> tuple[Floats, int]:
    """A matrix (T, T) in blocks of n x n with their maxima, so that at most `most` are left; and n. NaN is no number.

    >>> reduced(np.array([[1, np.nan, np.nan], [2, 3, np.nan], [4, 5, 6]]), 2)[0].tolist()
    [[3.0, nan], [5.0, 6.0]]
    """
    n = -(-len(matrix) // most)
    if n == 1:
        return matrix, 1
    side = -(-len(matrix) // n)
    padded = np.full((side * n, side * n), -np.inf)
    padded[: len(matrix), : len(matrix)] = np.where(np.isnan(matrix), -np.inf, matrix)
    blocks = padded.reshape(side, n, side, n).max((1, 3))
    return np.where(np.isfinite(blocks), blocks, np.nan), n


def _said(n: int) -> str:
    return f"; each cell is the largest of {n} x {n} weights" if n > 1 else ""


def _past(wei: Floats) -> Floats:
    """Weights (T, T) with the future blank; in a model without a mask it weighs something, and stays."""
    return np.where(np.tri(len(wei), dtype=bool) | (wei != 0), wei, np.nan)


def grid_figure(view: Attention) -> go.Figure:
    """A small pattern for each head, a row for each layer."""
    layers, (_, heads, T, _) = view.shown_layers, view.wei.shape
    names = [f"{layer}.{head}" for layer in layers for head in range(heads)]
    made = make_subplots(
        len(layers), heads, subplot_titles=names, horizontal_spacing=0.12 / heads, vertical_spacing=0.2 / len(layers)
    )
    n = 1
    for row, layer in enumerate(layers, start=1):
        for head in range(heads):
            small, n = reduced(_past(view.wei[layer, head]), THUMBNAIL)
            drawn = go.Heatmap(
                z=small.astype(np.float32),
                coloraxis="coloraxis",
                hovertemplate=f"head {layer}.{head}, from %{{y}} to %{{x}}: %{{z:.3f}}<extra></extra>",
                x0=0,
                dx=n,
                y0=0,
                dy=n,
            )
            made.add_trace(drawn, row, head + 1)
    made.update_layout(
        template=TEMPLATE,
        title_text=f"What each head looks at: rows look, columns are looked at ({T} tokens{_said(n)})",
        coloraxis={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1, "colorbar": {"title": "weight", "thickness": 12}},
        height=110 + 230 * len(layers) if heads < 6 else 110 + 150 * len(layers),
        margin={"t": 90},
    )
    made.update_xaxes(showticklabels=False, ticks="", showgrid=False, zeroline=False)
    made.update_yaxes(showticklabels=False, ticks="", showgrid=False, zeroline=False, autorange="reversed")
    return made


def worth_figure(view: Attention) -> go.Figure:
    """What the loss rises by without each head."""
    assert view.scores
    heads = [head for head in view.scores.heads if head.layer in view.shown_layers]
    names = [f"{head.layer}.{head.head}" for head in heads]
    habits = [
        f"entropy {h.entropy:.2f} bits<br>distance {h.distance:.1f}<br>previous {h.previous:.3f}"
        + "".join(
            f"<br>{n} {v:.3f}" for n, v in (("duplicate", h.duplicate), ("induction", h.induction)) if v is not None
        )
        for h in heads
    ]
    bars = [
        go.Bar(
            name=name,
            x=names,
            y=[getattr(head, kind) for head in heads],
            error_y={"array": [getattr(head, f"{kind}_error") or 0.0 for head in heads], "thickness": 1, "width": 2},
            marker_color=colour,
            customdata=habits,
            hovertemplate="head %{x}: %{y:+.4f} nats<br>%{customdata}<extra></extra>",
        )
        for kind, name, colour in (("zero", "left out", BLUE), ("mean", "replaced by its mean", ORANGE))
    ]
    return figure(
        *bars,
        title=f"What each head is worth<br><sup>{view.scores.measured_on}; bars: standard error</sup>",
        xaxis={"title": "layer.head", "type": "category"},
        yaxis={"title": "loss rises by (nats per token)"},
        barmode="group",
    )


def pattern_figure(chain: Chain, tokens: tuple[str, ...]) -> go.Figure:
    """One head's weights, large."""
    weights, n = reduced(_past(chain.wei), LARGEST)
    drawn = _heatmap(weights, tokens, n, colorscale=SEQUENTIAL, zmin=0, zmax=1, colorbar={"title": "weight"})
    return figure(
        drawn,
        title=f"Layer {chain.layer}, head {chain.head}: what each token looks at{_said(n)}",
        height=820,
        xaxis=_axis(tokens, n, "looked at") | {"constrain": "domain"},
        yaxis=_axis(tokens, n, "looking") | {"autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
    )


def chain_figure(chain: Chain, tokens: tuple[str, ...]) -> go.Figure:
    """One head's stages, each with its own range."""
    hs = chain.v.shape[1]
    stages = [
        ("q @ k^T", chain.products, DIVERGING),
        (f"times {chain.scale:.3f}{', masked' * chain.causal}", chain.scores, DIVERGING),
        ("softmax", _past(chain.wei), SEQUENTIAL),
        ("softmax without the scale", _past(chain.wei_unscaled), SEQUENTIAL),
        (f"v ({hs} numbers a token)", chain.v, DIVERGING),
        ("out = softmax @ v", chain.out, DIVERGING),
    ]
    titles = [f"{name}: {np.nanmin(values):.2f} .. {np.nanmax(values):.2f}" for name, values, _ in stages]
    made = make_subplots(2, 3, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.14)
    for number, (_, values, colours) in enumerate(stages):
        square = number < 4
        shown, n = reduced(values, LARGEST) if square else (values, 1)
        largest = float(np.nanmax(np.abs(values))) or 1.0
        limits = {"zmin": 0, "zmax": 1} if colours == SEQUENTIAL else {"zmin": -largest, "zmax": largest}
        row, column = number // 3 + 1, number % 3 + 1
        made.add_trace(_heatmap(shown, tokens, n, square, colorscale=colours, showscale=False, **limits), row, column)
        across = _axis(tokens, n, "") if square else {"title": {"text": "number"}, "showgrid": False, "zeroline": False}
        made.update_xaxes(across, row=row, col=column)
        made.update_yaxes(_axis(tokens, n, "") | {"autorange": "reversed"}, row=row, col=column)
    said = _said(reduced(chain.wei, LARGEST)[1]).replace("weights", "values")
    made.update_annotations(font_size=13)
    made.update_layout(
        template=TEMPLATE,
        title_text=f"Layer {chain.layer}, head {chain.head}, stage by stage: rows look, columns are looked at{said}",
        height=760,
        margin={"t": 100},
    )
    return made


def _heatmap(values: Floats, tokens: tuple[str, ...], n: int, square: bool = True, **look: Any) -> go.Heatmap:
    """Values (rows, columns); hovering names the tokens where a cell is one pair of them."""
    if n == 1 and square:
        names = [[f"{i} {looking} -> {j} {seen}" for j, seen in enumerate(tokens)] for i, looking in enumerate(tokens)]
        return go.Heatmap(z=values, text=names, hovertemplate="%{text}: %{z:.4f}<extra></extra>", **look)
    told = "from %{y} to %{x}" if square else "position %{y}, number %{x}"
    width = n if square else 1
    return go.Heatmap(z=values, y0=0, dy=n, x0=0, dx=width, hovertemplate=f"{told}: %{{z:.4f}}<extra></extra>", **look)


def _axis(tokens: tuple[str, ...], n: int, title: str) -> dict[str, Any]:
    """Token names where they fit, else positions."""
    if len(tokens) > LABELLED or n > 1:
        return {"title": {"text": f"{title} position" if title else ""}, "showgrid": False, "zeroline": False}
    return token_axis(list(tokens), title, tickangle=0, zeroline=False)
