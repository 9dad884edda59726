"""All figures of a report, under the names of their views."""

from plotly.graph_objects import Figure

from clearhead.figures import figures_of
from clearhead.inspection.report import Report


def figures(view: Report) -> dict[str, Figure]:
    """Those of its views, in their order."""
    return {f"{part.name}-{name}": drawn for part in view.parts for name, drawn in figures_of(part.view).items()}
