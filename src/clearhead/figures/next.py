"""The step to the next token as pictures: the ladder from logit to probability, and the draw on the cumulative bar."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from clearhead.figures.theme import BLUE, GREY, ORANGE, RED, SERIES, TEMPLATE, figure, token_axis
from clearhead.inspection.next import Candidate, Next

SHOWN = 20
"""Tokens of the ladder, the likeliest."""
NAMED = 0.02
"""The shortest stretch of the bar that carries its token's name."""


def figures(view: Next) -> dict[str, go.Figure]:
    """The ladder and the draw."""
    return {"ladder": ladder_figure(view), "draw": draw_figure(view)}


def ladder_figure(view: Next) -> go.Figure:
    """Logit, logit / T and probability side by side, T = 1 as a ghost behind."""
    shown = view.candidates[:SHOWN]
    shown = shown if view.chosen in shown else (*shown, view.chosen)
    spread = view.spread[-1]
    scaled = view.temperature not in (0.0, 1.0)
    titles = ["logit", *([f"logit / {view.temperature:g}"] * scaled), "probability (grey: at T = 1)"]
    made = make_subplots(1, len(titles), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.03)
    made.add_trace(_bars(view, shown, [_finite(c.logit) for c in shown], "logit"), 1, 1)
    if scaled:
        made.add_trace(_bars(view, shown, [_finite(c.scaled) for c in shown], "logit / T"), 1, 2)
    last = len(titles)
    ghost = go.Bar(
        y=list(range(len(shown))),
        x=[c.before for c in shown],
        orientation="h",
        marker_color=GREY,
        opacity=0.35,
        width=0.9,
        name="at T = 1",
        hovertemplate="%{x:.4f} at T = 1<extra></extra>",
    )
    made.add_trace(ghost, 1, last)
    drawn = _bars(view, shown, [c.probability for c in shown], "drawn with")
    made.add_trace(
        drawn.update(width=0.5, text=[c.cut and f"cut: {c.cut}" for c in shown], textposition="outside"), 1, last
    )
    made.update_layout(
        template=TEMPLATE,
        title_text=f"After {view.prompt[-40:]}: {view.token} is drawn<br><sup>{view.settings}; "
        f"{spread.entropy:.2f} bits, {spread.choices:.1f} effective choices; the {len(shown)} likeliest of "
        f"{len(view.candidates):,} tokens</sup>",
        height=170 + 22 * len(shown),
        showlegend=False,
        barmode="overlay",
        margin={"t": 110},
    )
    made.update_yaxes(autorange="reversed")
    made.update_yaxes(token_axis([c.token for c in shown]), col=1)
    return made


def _bars(view: Next, shown: tuple[Candidate, ...], values: list[float | None], name: str) -> go.Bar:
    """A bar for each token, the drawn one apart."""
    return go.Bar(
        y=list(range(len(shown))),
        x=values,
        orientation="h",
        marker_color=[ORANGE if c.id == view.drawn else BLUE for c in shown],
        name=name,
        customdata=[c.token for c in shown],
        hovertemplate="%{customdata}: %{x:.4f}<extra></extra>",
    )


def _finite(value: float | None) -> float | None:
    return None if value in (None, float("-inf")) else value


def draw_figure(view: Next) -> go.Figure:
    """All tokens on a bar from 0 to 1 in the order of their ids, and where u falls."""
    there = sorted((c for c in view.candidates if c.probability), key=lambda c: c.id)
    colours = [ORANGE if c.id == view.drawn else (BLUE, SERIES[2], GREY)[i % 3] for i, c in enumerate(there)]
    bars = go.Bar(
        base=[c.low for c in there],
        x=[c.high - c.low for c in there],
        y=[0] * len(there),
        orientation="h",
        marker={"color": colours, "line": {"color": "white", "width": 1}},
        text=[c.token if c.high - c.low >= NAMED else "" for c in there],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        customdata=[[c.token, c.low, c.high] for c in there],
        hovertemplate="%{customdata[0]}: %{customdata[1]:.4f} .. %{customdata[2]:.4f}<extra></extra>",
    )
    made = figure(
        bars,
        title=f"The draw: u = {view.u:.4f} falls on {view.token} ({view.chosen.low:.4f} .. {view.chosen.high:.4f})"
        f"<br><sup>{view.settings}; {len(there):,} tokens in the order of their ids</sup>",
        xaxis={"title": "cumulative probability", "range": [0, 1], "showgrid": False},
        yaxis={"visible": False},
        height=260,
        margin={"t": 90},
        barmode="overlay",
    )
    made.add_vline(x=view.u, line={"color": RED, "width": 3})
    return made
