"""Figures as files of pixels or lines, drawn by a browser that is found on the machine."""

from plotly.graph_objects import Figure

from clearhead.errors import ConfigError

WIDTH, HEIGHT, SCALE = 1000, 640, 2


def image(figure: Figure, kind: str) -> bytes:
    """A figure as png, svg or pdf; ConfigError where kaleido (the extra `images`) or a browser is missing."""
    try:
        import kaleido  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise ConfigError(f"{kind} needs kaleido; pip install 'clearhead[images]', or save .html") from None
    height = figure.layout.height or HEIGHT  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return figure.to_image(format=kind, width=WIDTH, height=height, scale=SCALE)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{kind} needs Chrome or Chromium ({reason}); install one, or save .html") from None
