"""Names beside points, where there is room for them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MOST = 150
"""Names that are written out in a picture, at most; the other points tell theirs when pointed at."""
PLOT, LETTER, LINE = np.array([880.0, 540.0]), 8.0, 15.0
"""Pixels of the drawing area, of a letter's width and of a line: names must not lie on each other."""


def labels(points: npt.NDArray[np.float64], names: Sequence[str], order: Sequence[int]) -> list[str]:
    """A name for every one of points (n, 2), or "" where it would lie on one that comes before it in the order.

    >>> labels(np.array([[0.0, 0.0], [0.001, 0.0], [1.0, 1.0]]), ["king", "queen", "cat"], [1, 0, 2])
    ['', 'queen', 'cat']
    """
    places = points / np.maximum(np.ptp(points, axis=0), 1e-12) * PLOT  # pixels
    written = [""] * len(names)
    taken: list[tuple[float, float, float]] = []
    for i in order:
        x, y, half = *places[i].tolist(), LETTER * len(names[i]) / 2
        if all(abs(x - other_x) > half + other or abs(y - other_y) > LINE for other_x, other_y, other in taken):
            written[i] = plain(names[i])
            taken.append((x, y, half))
        if len(taken) == MOST:
            break
    return written


def plain(text: str) -> str:
    """A text that plotly shows as it is: a space of no width after "<", and nothing is taken for a tag."""
    return text.replace("<", "<\u200b")
