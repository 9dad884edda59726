import json
from typing import Any

import numpy as np
import pytest

from clearhead.figures import figures_of
from clearhead.inspection.init import Initialisations
from clearhead.inspection.lab import Layer, Start


def start(init: str, *, predicted: float | None = 4.0, layers: int = 2) -> Start:
    stream = tuple(Layer(f"block {i}", 0.1 * (i + 1), 0.0) for i in range(layers))
    later = tuple(Layer(f"block {i}", 0.1 * (i + 3), 0.1) for i in range(layers))
    return Start(
        init,
        False,
        False,
        True,
        predicted,
        4.1,
        0.2,
        None,
        stream,
        later,
        0.1,
        None,
        np.array([4.1, 3.0]),
        0.5,
        2.9,
        1,
        0.2,
    )


def view(*starts: Start) -> Initialisations:
    return Initialisations("run", "gpt", starts, 2, 4, 8, 4.17, 0.2, 3.3, "the unigram", "4,096 val tokens", ())


def test_losses_predictions_and_layers_are_drawn():
    made: Any
    (made,) = figures_of(view(start("normal"), start("xavier"))).values()
    curves = [trace for trace in made.data if trace.mode == "lines" and trace.name]
    assert [curve.name for curve in curves] == ["normal", "xavier"]
    assert list(curves[0].y) == [4.1, 3.0]
    dots = [trace for trace in made.data if trace.mode == "markers"]
    assert [(dot.x[0], dot.y[0]) for dot in dots] == [(4.0, 4.1)] * 2
    scales = [trace.y for trace in made.data if trace.mode == "lines+markers"]
    assert scales[0] == (0.1, 0.2)
    assert scales[1] == (None, None), "zero has no logarithm"
    assert scales[2] == pytest.approx((0.3, 0.4)), "after the last step, in a row of its own"
    assert len(scales) == 2 * 4
    json.loads(str(made.to_json()), parse_constant=lambda word: pytest.fail(word))


def test_a_table_has_no_layers():
    made: Any
    (made,) = figures_of(view(start("counts", predicted=None, layers=0))).values()
    assert made.to_dict()["layout"]["height"] < 600
    assert not [trace for trace in made.data if trace.mode in ("markers", "lines+markers")]


def test_the_text_has_a_dash_for_what_is_not_there():
    said = str(view(start("normal"), start("counts", predicted=None, layers=0)))
    assert "normal *" in said
    row = next(line for line in said.splitlines() if line.startswith("counts"))
    assert row.split()[2:4] == ["-", "4.100"]
