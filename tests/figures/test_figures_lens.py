"""Figures of the lens hold the numbers they are made of."""

import json

import numpy as np

import inspection.tiny_models as small
from clearhead.figures.lens import SHOWN, figures
from clearhead.inspection.lens import lens

look, draw = small.untyped(lens), small.untyped(figures)


def test_grid_parts_and_patching():
    view = look(small.lively(), small.TOKENIZER, "abba cab\nab", other="abba cad\nab")
    found = draw(view)
    assert list(found) == ["lens", "depth", "parts", "patching"]
    grid = found["lens"].data[0]
    assert np.allclose(np.asarray(grid.z), view.readings.probability)
    assert [tuple(row) for row in grid.text] == list(view.readings.favourites)
    assert "".join(found["lens"].layout.xaxis.ticktext) == "abba␣cab↵ab"
    parts = found["parts"].data[0]
    assert list(parts.x)[:-1] == [part.name for part in view.decomposition.parts]
    assert sum(list(parts.y)[:-1]) == parts.y[-1]
    assert np.allclose(np.asarray(found["patching"].data[0].z), view.patching.normalised)
    assert "d → b" in found["patching"].layout.xaxis.ticktext
    for made in found.values():
        assert "NaN" not in made.to_json()
        json.loads(made.to_json())


def test_a_long_text_shows_its_end_and_says_so():
    view = look(small.lively(block_size=80), small.TOKENIZER, "abcd efg\n" * 8)
    grid = draw(view)["lens"]
    assert f"the last {SHOWN} of 72" in grid.layout.title.text
    assert np.asarray(grid.data[0].z).shape == (5, SHOWN)


def test_a_single_token_has_figures_too():
    found = draw(look(small.lively(), small.TOKENIZER, "a"))
    assert [trace.name for trace in found["depth"].data] == ["KL to the end"]
    assert "NaN" not in json.dumps(look(small.lively(), small.TOKENIZER, "a").to_dict(), allow_nan=False)
