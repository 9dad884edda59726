"""The figures of an experiment: how each setting learned, and where its seeds ended."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb, sample_colorscale
from plotly.subplots import make_subplots

from clearhead.figures.theme import SEQUENTIAL, SERIES, TEMPLATE

if TYPE_CHECKING:
    from clearhead.experiments.experiment import Experiment, Outcome


def figures(found: "Experiment") -> dict[str, go.Figure]:
    """One figure: curves with their spread over steps and over time, and the final losses."""
    return {"experiment": curves(found)}


def curves(found: "Experiment") -> go.Figure:
    """Validation loss by step and by second, mean over seeds and all of them; and the whole split at the end."""
    titles = ("validation, estimated: by step", "by second", f"whole validation text: {found.unit}")
    made = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.07)
    for number, outcome in enumerate(found.outcomes):
        colour = _colour(number, len(found.outcomes))
        for column, over in ((1, "steps"), (2, "seconds")):
            for trace in _curve(outcome, over, colour, legend=column == 1):
                made.add_trace(trace, row=1, col=column)
        made.add_trace(_ends(found, outcome, colour), row=1, col=3)
    made.update_xaxes(title_text="step", row=1, col=1)
    made.update_xaxes(title_text="seconds", row=1, col=2)
    made.update_yaxes(title_text="nats per token", row=1, col=1)
    made.update_layout(
        template=TEMPLATE, title_text=f"{found.title}<br><sup>{found.verdict}</sup>", height=520, margin={"t": 110}
    )
    made.update_layout(legend={"y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"})
    return made


def _curve(outcome: "Outcome", over: str, colour: str, *, legend: bool) -> list[go.Scatter]:
    """The band between the seeds' lowest and highest, and the mean; where seeds differ in steps, as far as all go."""
    curves = [trial.curve for trial in outcome.trials]
    rows = [
        (sum(at) / len(at), [value for value in values if value is not None])
        for at, values in zip(
            zip(*(getattr(curve, over) for curve in curves), strict=False),
            zip(*(curve.val for curve in curves), strict=False),
            strict=False,
        )
    ]
    rows = [(x, values) for x, values in rows if values]
    x = [at for at, _ in rows]
    style = {"legendgroup": outcome.name, "name": outcome.name}
    band = go.Scatter(
        x=[*x, *reversed(x)],
        y=[*(max(values) for _, values in rows), *(min(values) for _, values in reversed(rows))],
        fill="toself",
        fillcolor=f"rgba{(*hex_to_rgb(colour), 0.18)}",
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        **style,
    )
    mean = go.Scatter(
        x=x,
        y=[sum(values) / len(values) for _, values in rows],
        mode="lines+markers",
        line={"color": colour},
        marker={"size": 4},
        showlegend=legend,
        **style,
    )
    return [band, mean]


def _ends(found: "Experiment", outcome: "Outcome", colour: str) -> go.Scatter:
    """Every seed's loss, and the mean as a bar."""
    nats = found.unit == "nats per token"
    losses = [t.val_nats_per_token if nats else t.val_bits_per_char for t in outcome.trials]
    mean = sum(losses) / len(losses)
    symbols = ["circle"] * len(losses) + ["line-ew-open"]
    return go.Scatter(
        x=[outcome.name] * (len(losses) + 1),
        y=[*losses, mean],
        mode="markers",
        marker={"color": colour, "size": [8] * len(losses) + [22], "symbol": symbols},
        hovertext=[*(f"seed {trial.seed}" for trial in outcome.trials), "mean"],
        name=outcome.name,
        legendgroup=outcome.name,
        showlegend=False,
    )


def _colour(number: int, count: int) -> str:
    """The house's colours for a few; for more a scale, in the order in which they were given."""
    if count < len(SERIES):
        return SERIES[number]
    (shade,) = sample_colorscale(SEQUENTIAL, [0.95 * number / (count - 1)], colortype="tuple")
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in shade)
