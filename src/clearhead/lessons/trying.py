"""Experiments in lessons: what they found, with the picture that their command draws."""

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from clearhead.lessons.parts import Part, Picture, Ran

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from clearhead.experiments.experiment import Experiment


def pictured(
    trying: "Generator[Part, None, Experiment]", title: str
) -> "Generator[Part, None, tuple[Experiment, Picture]]":
    """The parts of `desk.experiment(...)`; what it found, and its curves."""
    command = ""
    while True:
        try:
            part = next(trying)
        except StopIteration as end:
            return end.value, Picture("experiment", title, f"{command} --html picture.html", partial(_draw, end.value))
        command = part.command if isinstance(part, Ran) else command
        yield part


def _draw(found: "Experiment") -> "Figure":
    return found.shown.figures()["experiment"]
