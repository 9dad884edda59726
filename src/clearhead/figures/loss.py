"""Where the bits go, as pictures: the waterfall of contexts, the coloured text, tokens beside counting."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from clearhead.figures.theme import BLUE, DIVERGING, GREEN, GREY, MONOSPACE, ORANGE, PURPLE, figure
from clearhead.inspection.groups import Group, Groups
from clearhead.inspection.loss import Loss
from clearhead.inspection.surprisal import LN2, Surprisal
from clearhead.inspection.waterfall import Rung, Waterfall

COLUMNS = 64
"""Characters of a line of coloured text; of longer tokens fewer."""
DRAWN = 1_024
"""Tokens of a text that are drawn."""
SCALES = {"surprisal": "YlOrRd", "saved": DIVERGING}
MOST_BITS, MOST_SAVED = 10.0, 5.0
"""Where the colours end."""
FEW = 20
"""Targets of a group, at least, that is drawn."""
LINES = {"unigram": PURPLE, "bigram": ORANGE, "ngram": GREEN}


def figures(view: Loss) -> dict[str, go.Figure]:
    """The waterfall, the text, groups beside the n-gram; places in the window where a model has windows."""
    found = {
        "waterfall": waterfall_figure(view.waterfall),
        "text": text_figure(view.text),
        "groups": groups_figure(view.groups),
    }
    return found | ({"positions": positions_figure(view.groups)} if view.groups.by_position else {})


def waterfall_figure(found: Waterfall) -> go.Figure:
    """Bars that hang from what was known before to what is known now; counted models as lines."""
    counted = [rung for rung in found.rungs if rung.name in LINES]
    hung = [rung for rung in found.rungs if rung.name not in LINES]
    names = [rung.name for rung in hung]
    lines = [
        go.Scatter(
            x=names,
            y=[rung.nats] * len(hung),
            mode="lines",
            line={"color": LINES[rung.name], "dash": "dot"},
            name=f"{rung.name}, counted: {rung.nats:.3f}",
            hoverinfo="name",
        )
        for rung in counted
    ]
    bars = go.Bar(
        x=names,
        base=[0.0 if rung.gain is None else rung.nats for rung in hung],
        y=[rung.nats if rung.gain is None else rung.gain for rung in hung],
        marker_color=[GREY if rung.gain is None else ORANGE if rung.name == "mixture" else BLUE for rung in hung],
        customdata=[_about(rung) for rung in hung],
        hovertemplate="%{x}: %{customdata}<extra></extra>",
        showlegend=False,
    )
    labels = go.Scatter(
        x=names,
        y=[rung.nats + max(0.0, rung.gain or 0.0) for rung in hung],
        text=[f"{rung.nats:.3f}" for rung in hung],
        mode="text",
        textposition="top center",
        hoverinfo="skip",
        showlegend=False,
    )
    return figure(
        *lines,
        bars,
        labels,
        title=f"What context is worth: the loss after the last k tokens<br><sup>{found.measured_on}; "
        "each bar hangs from the loss of the one it is counted from down to its own</sup>",
        yaxis={"title": "nats per token", "rangemode": "tozero"},
        xaxis={"type": "category"},
        height=560,
        legend={"orientation": "v", "yanchor": "top", "y": 0.98},
    )


def _about(rung: Rung) -> str:
    own = f"{rung.nats:.4f} +- {rung.error:.4f} nats"
    if rung.gain is None:
        return own
    gained = f"<br>most on {escape(', '.join(rung.gained))}" if rung.gained else ""
    return f"{own}<br>{rung.gain:+.4f} +- {rung.gain_error:.4f} over {rung.over}{gained}"


def text_figure(text: Surprisal) -> go.Figure:
    """A text in lines, each token coloured by its bits; buttons change to what is saved beside counting."""
    n = min(len(text), DRAWN)
    widest = max(map(len, text.tokens[:n]))
    columns = COLUMNS if widest == 1 else max(4, min(24, 110 // (widest + 1)))
    rows = -(-n // columns)
    cells = {"surprisal, bits": text.bits, **{f"saved over the {name}": bits for name, bits in text.saved.items()}}
    grids = {name: _grid(values[:n], columns) for name, values in cells.items()}
    drawn = go.Heatmap(
        z=grids["surprisal, bits"],
        text=_grid([escape(token) for token in text.tokens[:n]], columns, ""),
        texttemplate="%{text}",
        textfont={"family": MONOSPACE, "size": 13 if widest == 1 else 11},
        customdata=_grid([_choices(text, i) for i in range(n)], columns, ""),
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        xgap=1,
        ygap=2,
        **_look("surprisal, bits"),
    )
    buttons = [
        {"label": name, "method": "restyle", "args": [{"z": [grid], **{k: [v] for k, v in _look(name).items()}}]}
        for name, grid in grids.items()
    ]
    left = f"; the first {n:,} of {len(text):,} tokens" if n < len(text) else ""
    made = figure(
        drawn,
        title=f"Where the model is surprised: {text.bits.mean():.3f} bits a token<br>"
        f"<sup>hover for what it expected{left}</sup>",
        xaxis={"visible": False},
        yaxis={"visible": False, "autorange": "reversed"},
        height=150 + 30 * rows,
        margin={"l": 20, "t": 80, "b": 20},
    )
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "y": 1, "yanchor": "bottom"}
    made.update_layout(updatemenus=[{**menu, "bgcolor": "#E6E6E6", "font": {"color": "#222222"}}])
    return made


def _look(name: str) -> dict[str, Any]:
    """Colours of surprisal from 0 up, of what is saved around 0."""
    bar = {"title": {"text": "bits"}, "thickness": 12}
    if name.startswith("surprisal"):
        return {"colorscale": SCALES["surprisal"], "zmin": 0.0, "zmax": MOST_BITS, "colorbar": bar}
    return {"colorscale": SCALES["saved"], "zmin": -MOST_SAVED, "zmax": MOST_SAVED, "colorbar": bar}


def _grid(values: Sequence[Any] | np.ndarray, columns: int, empty: Any = None) -> list[list[Any]]:
    """Values in lines of so many, the last filled up."""
    listed = [value.item() if isinstance(value, np.generic) else value for value in values]
    listed += [empty] * (-len(listed) % columns)
    return [listed[start : start + columns] for start in range(0, len(listed), columns)]


def _choices(text: Surprisal, i: int) -> str:
    """What a cell says when it is pointed at."""
    expected = "<br>".join(f"  {escape(token)} {p:.1%}" for token, p in text.choices[i])
    counted = f"bigram {text.bigram[i]:.2f}, n-gram {text.ngram[i]:.2f}"
    return f"<b>{escape(text.tokens[i])}</b> {text.bits[i]:.2f} bits ({counted})<br>expected<br>{expected}"


def groups_figure(found: Groups) -> go.Figure:
    """Tokens by the bits that the n-gram needs and the model needs; below the line the model is better."""
    kinds = (("token", found.by_token, BLUE), ("token before", found.by_preceding, ORANGE))
    drawn = [_points(f"by {name}", groups, colour, bool(i)) for i, (name, groups, colour) in enumerate(kinds)]
    most = max(
        (max(one.bits, one.ngram) for one in (*found.by_token, *found.by_preceding) if one.count >= FEW), default=1
    )
    even = go.Scatter(
        x=[0, most], y=[0, most], mode="lines", line={"color": GREY, "dash": "dash"}, name="even", hoverinfo="skip"
    )
    return figure(
        even,
        *drawn,
        title="Where the model beats counting: below the line<br><sup>larger: more of all bits; "
        f"{found.measured_on}, groups of {FEW} and more</sup>",
        xaxis={"title": "n-gram, bits a token", "rangemode": "tozero"},
        yaxis={"title": "model, bits a token", "rangemode": "tozero"},
        height=620,
    )


def _points(name: str, groups: tuple[Group, ...], colour: str, hidden: bool) -> go.Scatter:
    shown = [one for one in groups if one.count >= FEW]
    return go.Scatter(
        name=name,
        visible="legendonly" if hidden else True,
        x=[one.ngram for one in shown],
        y=[one.bits for one in shown],
        mode="markers+text",
        text=[escape(one.name) for one in shown],
        textposition="top center",
        textfont={"family": MONOSPACE},
        marker={"color": colour, "size": [6 + 120 * one.share**0.5 / 3 for one in shown], "opacity": 0.6},
        customdata=[[one.count, one.share, one.count * (one.ngram - one.bits)] for one in shown],
        hovertemplate="%{text}: model %{y:.3f}, n-gram %{x:.3f} bits<br>%{customdata[0]:,} tokens, "
        "%{customdata[1]:.1%} of all bits<br>%{customdata[2]:+,.0f} bits saved<extra></extra>",
    )


def positions_figure(found: Groups) -> go.Figure:
    """Bits by how much of its window the model has read."""
    groups = found.by_position
    drawn = [
        go.Scatter(
            name=name,
            x=[one.name for one in groups],
            y=[getattr(one, which) for one in groups],
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{x} tokens read: %{y:.3f} bits<extra></extra>",
        )
        for name, which, colour in (("model", "bits", BLUE), ("bigram", "bigram", ORANGE), ("n-gram", "ngram", GREEN))
    ]
    return figure(
        *drawn,
        title=f"How the window fills: bits by tokens read<br><sup>{found.measured_on}; {found.bits:.3f} bits "
        f"({found.bits * LN2:.3f} nats) in all</sup>",
        xaxis={"title": "tokens of the window read before the target", "type": "category"},
        yaxis={"title": "bits a token"},
    )
