"""Plotly figures of what inspections found: pure functions of their numbers.

The figures of the view in a module NAME, such as `clearhead.inspection.NAME`, are made by
`clearhead.figures.NAME.figures`. The same figure serves the notebook, the report and the page.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from clearhead.inspection.view import View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def figures_of(view: View) -> "dict[str, Figure]":
    """The figures of a view by name, the one that says most first; {} for a view that is words only."""
    module = type(view).__module__.rpartition(".")[2]
    return import_module(f"clearhead.figures.{module}").figures(view)
