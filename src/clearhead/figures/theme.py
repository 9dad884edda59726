"""How all figures look: one template, colours that a colour-blind reader can tell apart, tokens one can see."""

from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#7F7F7F"
"""Okabe & Ito 2008, "Color universal design"."""
SERIES = [BLUE, ORANGE, GREEN, RED, PURPLE, GREY]
SEQUENTIAL = "Viridis"
"""For shares and other amounts from 0 up: even steps look even, also in grey."""
DIVERGING = "RdBu"
"""For differences: white is none. Set zmid=0."""
MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, -apple-system, Segoe UI, sans-serif", "size": 13},
        "title": {"x": 0, "xanchor": "left", "pad": {"l": 12}, "font": {"size": 15}},
        "colorway": SERIES,
        "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": {"gridcolor": "#E5E5E5", "zerolinecolor": "#BBBBBB", "automargin": True},
        "yaxis": {"gridcolor": "#E5E5E5", "zerolinecolor": "#BBBBBB", "automargin": True},
        "hoverlabel": {"font": {"family": MONOSPACE}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0},
    }
)


def figure(*traces: Any, title: str, **layout: Any) -> go.Figure:
    """A figure in the house's look, its title above."""
    made = go.Figure(data=list(traces))
    made.update_layout(template=TEMPLATE, title_text=title, **layout)
    return made


def token_axis(labels: list[str], title: str = "", **more: Any) -> dict[str, Any]:
    """An axis whose ticks are tokens, in their order, equal ones apart: values are 0, 1, 2, ..."""
    return {
        "title": {"text": title},
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "tickfont": {"family": MONOSPACE, "size": 11},
        "showgrid": False,
        **more,
    }
