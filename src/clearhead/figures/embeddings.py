"""Figures of embeddings: the space, its way through training, what its dimensions go along with, the direct path."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from clearhead.figures.labels import labels, plain
from clearhead.figures.theme import (
    BLUE,
    DIVERGING,
    GREEN,
    GREY,
    MONOSPACE,
    ORANGE,
    PURPLE,
    RED,
    TEMPLATE,
    figure,
    token_axis,
)
from clearhead.inspection.embeddings import Embeddings, Moment, TableFindings
from clearhead.inspection.tables import Floats

COMPARED = 40
"""Tokens in the heatmaps of the direct path, the most frequent."""

KINDS = {"vowel": ORANGE, "consonant": BLUE, "upper case": PURPLE, "digit": GREEN, "mark or white space": RED}


def figures(view: Embeddings) -> dict[str, go.Figure]:
    """The space of each table, then its way, its dimensions and the direct path where there are such."""
    made: dict[str, go.Figure] = {}
    for found in view.tables:
        made[f"space-{found.table.name}"] = space(view, found)
    for found in view.tables:
        if len(found.through) > 1:
            made[f"through-{found.table.name}"] = through(view, found)
        made[f"solid-{found.table.name}"] = solid(view, found)
        if found.meaning.features:
            made[f"dimensions-{found.table.name}"] = dimensions(found)
    made["singular-values"] = singular_values(view)
    if view.direct is not None:
        made["direct-path"] = direct_path(view)
    return made


def space(view: Embeddings, found: TableFindings) -> go.Figure:
    """The table in two dimensions, every token, with what the picture keeps of it."""
    made = figure(
        *_clouds(view, found.flat.points),
        title=f"The {found.table.name} table in two dimensions",
        height=720,
        xaxis=_axis(found, 0),
        yaxis=_axis(found, 1),
        legend={"y": -0.14, "x": 0, "xanchor": "left", "yanchor": "top"},
    )
    return _noted(made, found.flat.words + _unlabelled(_written(view, found.flat.points)))


def solid(view: Embeddings, found: TableFindings) -> go.Figure:
    """The table in three dimensions."""
    x, y, z = found.solid.points.T
    dots = go.Scatter3d(
        x=x.tolist(),
        y=y.tolist(),
        z=z.tolist(),
        mode="markers+text",
        text=_written(view, found.solid.points),
        hovertext=_told(view),
        hoverinfo="text",
        marker={"size": 3, "color": np.log(np.maximum(view.counts, 1)).tolist(), "colorscale": "Viridis"},
        textfont={"family": MONOSPACE, "size": 11},
    )
    made = figure(dots, title=f"The {found.table.name} table in three dimensions", height=720)
    return _noted(made, found.solid.words + "; colour: log frequency")


def through(view: Embeddings, found: TableFindings) -> go.Figure:
    """The table at every checkpoint, turned to lie on today's picture; a slider goes through training."""
    clouds = [
        go.Scatter(
            x=moment.points[:, 0].tolist(),
            y=moment.points[:, 1].tolist(),
            mode="markers+text",
            text=_written(view, moment.points),
            hovertext=_told(view),
            hoverinfo="text",
            textposition="top center",
            textfont={"family": MONOSPACE},
            marker={"size": 5, "color": BLUE},
            visible=moment is found.through[-1],
            showlegend=False,
        )
        for moment in found.through
    ]
    steps = [
        {
            "label": f"{moment.step:,}",
            "method": "update",
            "args": [{"visible": [other is moment for other in found.through]}, {"annotations[0].text": _way(moment)}],
        }
        for moment in found.through
    ]
    reach = 1.08 * float(max(np.abs(moment.points).max() for moment in found.through))
    slider = {"active": len(steps) - 1, "currentvalue": {"prefix": "step "}, "steps": steps, "pad": {"t": 50}}
    made = figure(
        *clouds,
        title=f"The {found.table.name} table through training",
        height=760,
        xaxis={"range": [-reach, reach]},
        yaxis={"range": [-reach, reach]},
        sliders=[slider],
    )
    return _noted(made, _way(found.through[-1]))


def dimensions(found: TableFindings) -> go.Figure:
    """What every dimension goes along with, and the best of them beside the same space turned at random."""
    told = found.meaning
    names = [feature.name for feature in told.features]
    made = make_subplots(
        rows=2,
        cols=1,
        row_heights=[0.55, 0.45],
        vertical_spacing=0.2,
        subplot_titles=(
            "correlation of every dimension",
            "the strongest dimension, and the strongest after random rotations",
        ),
    )
    heat = go.Heatmap(
        z=told.correlations.tolist(),
        y=names,
        colorscale=DIVERGING,
        zmid=0,
        zmin=-1,
        zmax=1,
        colorbar={"len": 0.5, "y": 0.78},
    )
    made.add_trace(heat, row=1, col=1)
    own = [abs(feature.correlation) for feature in told.features]
    turned = [feature.rotated for feature in told.features]
    p = [f"p = {feature.p_rotation:.2g}" for feature in told.features]
    for name, values, colour, text in (("as it stands", own, BLUE, p), ("turned at random", turned, GREY, None)):
        bars = go.Bar(name=name, x=names, y=values, marker={"color": colour}, text=text, textposition="outside")
        made.add_trace(bars, row=2, col=1)
    made.update_xaxes(title_text="dimension", row=1, col=1)
    made.update_yaxes(title_text="|correlation|", range=[0, 1.15], row=2, col=1)
    made.update_layout(
        template=TEMPLATE,
        title_text=f"What a dimension of the {found.table.name} table means",
        height=680,
        margin={"t": 90},
        legend={"y": -0.1, "yanchor": "top", "x": 0, "xanchor": "left"},
    )
    return made


def singular_values(view: Embeddings) -> go.Figure:
    """How the tables spread over their dimensions."""
    lines = [
        go.Scatter(
            name=f"{found.table.name}: rank {found.spectrum.rank}, participation {found.spectrum.participation:.1f}",
            y=found.spectrum.singular_values.tolist(),
            x=list(range(1, len(found.spectrum.singular_values) + 1)),
            mode="lines+markers",
            marker={"size": 4},
        )
        for found in view.tables
    ]
    V, C = view.tables[0].spectrum.shape
    return figure(
        *lines,
        title=f"Singular values: {V:,} tokens in {C:,} dimensions",
        xaxis={"title": {"text": "number"}},
        yaxis={"title": {"text": "singular value"}, "rangemode": "tozero"},
        showlegend=True,
    )


def direct_path(view: Embeddings) -> go.Figure:
    """The embedding's own say in the logits beside the text's bigram, both with rows and columns centred."""
    direct = view.direct
    assert direct is not None
    shown = min(COMPARED, direct.tokens)
    names = [view.tokens[i] for i in direct.ids[:shown]]
    titles = (f"direct path {direct.path}", "log bigram of the text")
    made = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.08)
    for column, values in enumerate((direct.logits, direct.counted), start=1):
        part = values[:shown, :shown]
        most = float(np.abs(part).max())
        heat = go.Heatmap(z=part.tolist(), colorscale=DIVERGING, zmid=0, zmin=-most, zmax=most, showscale=False)
        made.add_trace(heat, row=1, col=column)
        made.update_xaxes(token_axis(names, "next token", tickfont={"family": MONOSPACE, "size": 9}), row=1, col=column)
        first = token_axis(names, "token" if column == 1 else "", autorange="reversed")
        made.update_yaxes({**first, "tickfont": {"family": MONOSPACE, "size": 9}}, row=1, col=column)
    title = f"How much of the bigram lies in the embeddings: correlation {direct.by_pair:+.2f} by pairs"
    if shown < direct.all_tokens:
        title += f" (the {shown} most frequent tokens)"
    made.update_layout(template=TEMPLATE, title_text=title, height=560, margin={"t": 90})
    return made


def _clouds(view: Embeddings, points: Floats) -> list[go.Scatter]:
    """One cloud for each kind of character; words in one, coloured by how frequent they are."""
    kinds = [_kind(token) for token in view.tokens]
    written, told = _written(view, points), _told(view)
    if kinds.count("word") > len(kinds) / 2:
        shade = {"color": np.log10(np.maximum(view.counts, 1)).tolist(), "colorscale": "Viridis", "size": 6}
        shade |= {"colorbar": {"title": {"text": "log10 count"}, "thickness": 12}}
        return [_cloud("tokens", points, range(len(kinds)), written, told, shade)]
    kinds = ["mark or white space" if kind == "word" else kind for kind in kinds]
    return [
        _cloud(kind, points, [i for i, k in enumerate(kinds) if k == kind], written, told, {"color": colour, "size": 6})
        for kind, colour in KINDS.items()
        if kind in kinds
    ]


def _cloud(
    name: str, points: Floats, which: Sequence[int], written: list[str], told: list[str], marker: dict
) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=points[list(which), 0].tolist(),
        y=points[list(which), 1].tolist(),
        mode="markers+text",
        text=[written[i] for i in which],
        hovertext=[told[i] for i in which],
        hoverinfo="text",
        textposition="top center",
        textfont={"family": MONOSPACE, "size": 13},
        marker=marker,
    )


def _kind(token: str) -> str:
    if len(token) > 1:
        return "word"
    if token.isdigit():
        return "digit"
    if not token.isalpha():
        return "mark or white space"
    return "upper case" if token.isupper() else "vowel" if token in "aeiou" else "consonant"


def _written(view: Embeddings, points: Floats) -> list[str]:
    """Labels where there is room: of the tokens asked for, then of the most frequent."""
    order = dict.fromkeys([*view.shown, *np.argsort(-view.counts, kind="stable").tolist()])
    return labels(points[:, :2], view.tokens, list(order))


def _told(view: Embeddings) -> list[str]:
    few = ["" if count >= view.too_few else ", too few to tell" for count in view.counts]
    return [f"{plain(t)}: {c:,} in training text{f}" for t, c, f in zip(view.tokens, view.counts, few, strict=True)]


def _unlabelled(said: list[str]) -> str:
    written = sum(map(bool, said))
    return f"; {written:,} of {len(said):,} tokens written, where there is room" if written < len(said) else ""


def _axis(found: TableFindings, which: int) -> dict:
    share = f" ({found.flat.explained[which]:.1%} of the variance)" if found.flat.explained else ""
    name = "principal axis" if found.flat.explained else "dimension" if found.flat.basis is None else "axis"
    return {"title": {"text": f"{name} {which + bool(found.flat.explained)}{share}"}}


def _way(moment: Moment) -> str:
    return f"{moment.kept:.0%} of the 5 nearest neighbours kept; {moment.same:.0%} of them are those of today"


def _noted(made: go.Figure, words: str) -> go.Figure:
    """What a picture loses stands on the picture."""
    made.add_annotation(
        text=words,
        xref="paper",
        yref="paper",
        x=0,
        y=1.0,
        yanchor="bottom",
        showarrow=False,
        font={"size": 12, "color": "#444"},
    )
    return made
