"""The figure of the initialisation lab: losses, predictions, and the scales of every layer."""

from collections.abc import Callable

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from clearhead.figures.theme import GREY, SERIES, TEMPLATE
from clearhead.inspection.init import Initialisations
from clearhead.inspection.lab import Layer, Start

TITLES = (
    "loss of every batch",
    "first loss: predicted and measured",
    "activation before the first step",
    "gradient before the first step",
    "activation after the last step",
    "gradient after the last step",
)
LINES = {(False, False): "solid", (True, False): "dash", (False, True): "dot", (True, True): "dashdot"}
"""By (tied, scaled embedding)."""
SYMBOLS = {(False, False): "circle", (True, False): "square", (False, True): "diamond", (True, True): "cross"}


def figures(view: Initialisations) -> dict[str, go.Figure]:
    """One figure; a bigram has no layers and so only the upper half."""
    return {"init": lab(view)}


def lab(view: Initialisations) -> go.Figure:
    """Losses over steps, predictions against measurements, activation and gradient by layer."""
    layered = any(start.layers for start in view.starts)
    rows = 3 if layered else 1
    made = make_subplots(
        rows=rows, cols=2, subplot_titles=TITLES[: 2 * rows], horizontal_spacing=0.09, vertical_spacing=0.11
    )
    names = list(dict.fromkeys(start.init for start in view.starts))
    for start in view.starts:
        for trace, row, column in _traces(start, SERIES[names.index(start.init) % len(SERIES)]):
            made.add_trace(trace, row=row, col=column)
    made.add_hline(y=view.target, line={"color": GREY, "dash": "dot"}, row=1, col=1)  # pyright: ignore[reportArgumentType]
    firsts = [loss for start in view.starts for loss in (start.predicted, start.measured) if loss is not None]
    ends = [min(firsts), max(firsts)]
    line = go.Scatter(
        x=ends, y=ends, mode="lines", line={"color": GREY, "width": 1}, showlegend=False, hoverinfo="skip"
    )
    made.add_trace(line, row=1, col=2)
    made.update_xaxes(title_text="step", row=1, col=1)
    made.update_yaxes(title_text="nats per token", row=1, col=1)
    made.update_xaxes(title_text="predicted, nats per token", row=1, col=2)
    made.update_yaxes(title_text="measured", row=1, col=2)
    for row in (2, 3) if layered else ():
        made.update_yaxes(type="log", dtick=1, exponentformat="power", row=row)
        made.update_yaxes(title_text="root mean square", row=row, col=1)
    made.update_layout(
        template=TEMPLATE,
        title_text=view.title,
        height=1180 if layered else 480,
        margin={"t": 90},
        legend={"y": -0.06 if layered else -0.24, "yanchor": "top", "x": 0, "xanchor": "left"},
    )
    return made


def _traces(start: Start, colour: str) -> list[tuple[go.Scatter, int, int]]:
    """A start's lines, and where each belongs."""
    key = (start.tied, start.scaled_embedding)
    style = {"name": start.name, "legendgroup": start.name}
    line = {"color": colour, "dash": LINES[key], "width": 3 if start.own else 1.5}
    curve = go.Scatter(x=list(range(len(start.losses))), y=start.losses.tolist(), mode="lines", line=line, **style)
    found = [(curve, 1, 1)]
    if start.predicted is not None:
        mark = {"color": colour, "symbol": SYMBOLS[key], "size": 9}
        dot = go.Scatter(
            x=[start.predicted], y=[start.measured], mode="markers", marker=mark, showlegend=False, **style
        )
        found.append((dot, 1, 2))
    scales: tuple[tuple[int, Callable[[Layer], float]], ...] = ((1, lambda x: x.activation), (2, lambda x: x.gradient))
    for row, layers in ((2, start.layers), (3, start.layers_after)) if start.layers else ():
        for column, scale in scales:
            x = [layer.place for layer in layers]
            y = [scale(layer) or None for layer in layers]  # zero has no place on a logarithmic axis
            drawn = go.Scatter(x=x, y=y, mode="lines+markers", line=line, showlegend=False, **style)
            found.append((drawn, row, column))
    return found
