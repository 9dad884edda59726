"""The ladder as a picture: a bar for each rung, the weakest above."""

from html import escape
from itertools import pairwise

import plotly.graph_objects as go

from clearhead.evaluation.ladder import Ladder, Rung
from clearhead.figures.theme import BLUE, GREY, ORANGE, figure

COUNTED = ("uniform", "unigram", "bigram", "ngram")


def ladder_figure(ladder: Ladder) -> go.Figure:
    """Bits per character by rung, and what each gains over the one above it."""
    rungs = list(ladder.rungs)
    gains = [None, *(above.bits_per_char - rung.bits_per_char for above, rung in pairwise(rungs))]
    bars = go.Bar(
        orientation="h",
        y=[_name(rung) for rung in rungs],
        x=[rung.bits_per_char for rung in rungs],
        marker_color=[_colour(rung) for rung in rungs],
        text=[f"{rung.bits_per_char:.3f}" for rung in rungs],
        textposition="auto",
        customdata=[
            [f"{rung.nats_per_token:.4f}", "" if gain is None else f"<br>{gain:+.4f} bits over the rung above"]
            for rung, gain in zip(rungs, gains, strict=True)
        ],
        hovertemplate="%{y}: %{x:.4f} bits per character, %{customdata[0]} nats per token%{customdata[1]}"
        "<extra></extra>",
    )
    where = f"{ladder.val_characters:,} validation characters" if ladder.split == "val" else "training text"
    return figure(
        bars,
        title=f"The ladder of {escape(ladder.corpus)}<br><sup>bits per character on {where}; shorter is better</sup>",
        xaxis={"title": "bits per character", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "type": "category"},
        height=160 + 44 * len(rungs),
    )


def _name(rung: Rung) -> str:
    return rung.name if rung.run is None else f"{rung.name} ({escape(rung.run)})"


def _colour(rung: Rung) -> str:
    return GREY if rung.name in COUNTED else ORANGE if rung.name == "mixture" else BLUE
