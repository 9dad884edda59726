"""One step as pictures: the sizes of the stages, and what a training step moves."""

import plotly.graph_objects as go

from clearhead.figures.theme import BLUE, GREEN, MONOSPACE, ORANGE, figure
from clearhead.inspection.backward import BigramStep, GPTStep
from clearhead.inspection.step import Step

CELLS = 16
"""Next tokens of a bigram's row that are drawn."""


def figures(view: Step) -> dict[str, go.Figure]:
    """What a training step does where one was made, and the sizes of a GPT's stages."""
    found = {}
    if isinstance(view.backward, BigramStep):
        found["row"] = row_figure(view.backward)
    elif isinstance(view.backward, GPTStep):
        found["moved"] = moved_figure(view.backward)
    if view.shown_block is not None:
        found["sizes"] = sizes_figure(view)
    return found


def sizes_figure(view: Step) -> go.Figure:
    """The residual stream's root mean square from sublayer to sublayer, and what each adds."""
    stream = [stage for stage in view.stages if stage.name in ("x = x + sa", "x = x + ffwd")]
    added = [stage for stage in view.stages if stage.name in ("proj(out)", "ffwd")]
    names = [f"{'attention' if stage.name == 'x = x + sa' else 'feed-forward'} {stage.block}" for stage in stream]
    return figure(
        go.Scatter(x=names, y=[s.size for s in stream], name="stream", mode="lines+markers", line={"color": BLUE}),
        go.Bar(x=names, y=[s.size for s in added], name="what is added", marker_color=ORANGE),
        title="The residual stream on its way: root mean square of its numbers",
        yaxis={"title": "root mean square", "rangemode": "tozero"},
    )


def moved_figure(found: GPTStep) -> go.Figure:
    """How far each tensor moved, beside its own size."""
    moved = [tensor for tensor in found.tensors if tensor.ratio]
    drawn = go.Bar(
        y=[tensor.name for tensor in moved],
        x=[tensor.ratio for tensor in moved],
        orientation="h",
        marker_color=BLUE,
        customdata=[[t.weight, t.gradient, t.update] for t in moved],
        hovertemplate="%{y}: %{x:.2e}<br>|weight| %{customdata[0]:.3f}, |gradient| %{customdata[1]:.2e}, "
        "|update| %{customdata[2]:.2e}<extra></extra>",
    )
    return figure(
        drawn,
        title=f"Who moved how far in one step<br><sup>{found.optimizer}</sup>",
        xaxis={"title": "|update| / |weight|", "type": "log", "dtick": "D2", "exponentformat": "e"},
        yaxis={"autorange": "reversed", "tickfont": {"family": MONOSPACE, "size": 10}, "dtick": 1},
        height=180 + 17 * len(moved),
    )


def row_figure(found: BigramStep) -> go.Figure:
    """A row of the table: what it believes, what the text says, and which way the gradient pushes."""
    cells = found.cells[:CELLS]
    names = [cell.token for cell in cells]
    bars = [
        ("softmax of the row", [c.probability for c in cells], BLUE),
        ("share in the text", [c.share for c in cells], GREEN),
        ("minus gradient, by autograd", [-c.gradient * found.pairs / found.seen for c in cells], ORANGE),
    ]
    return figure(
        *(go.Bar(name=name, x=names, y=values, marker_color=colour) for name, values, colour in bars),
        title=f"The row of {found.token}: the gradient is softmax minus share"
        f"<br><sup>gradients times {found.pairs}/{found.seen}; error over the table {found.gradient_error:.1e}</sup>",
        xaxis={"title": "next token", "type": "category", "tickfont": {"family": MONOSPACE}, "tickangle": 0},
        yaxis={"title": "probability, and what is lacking"},
        barmode="group",
    )
