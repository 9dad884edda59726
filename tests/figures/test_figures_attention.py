"""Figures of attention hold the numbers they are made of."""

import json

import numpy as np
import pytest

import inspection.tiny_models as small
from clearhead.figures.attention import LARGEST, THUMBNAIL, figures, reduced
from clearhead.inspection.attention import attention

TEXT = "abba cab\nabba cab"

look, draw = small.untyped(attention), small.untyped(figures)


def test_the_grid_is_every_head():
    view = look(small.lively(), small.TOKENIZER, TEXT)
    found = draw(view)
    assert list(found) == ["patterns", "worth"]
    assert len(found["patterns"].data) == 4
    drawn = np.asarray(found["patterns"].data[3].z)
    past = np.tri(len(TEXT), dtype=bool)
    assert np.allclose(drawn[past], view.wei[1, 1][past])
    assert np.isnan(drawn[~past]).all()
    left_out = found["worth"].data[0]
    assert list(left_out.x) == [f"{s.layer}.{s.head}" for s in view.scores.heads]
    assert list(left_out.y) == [s.zero for s in view.scores.heads]


def test_the_chain_shows_each_stage_with_visible_white_space():
    view = look(small.lively(), small.TOKENIZER, TEXT, layer=1, head=0)
    found = draw(view)
    assert list(found) == ["pattern", "chain"]
    stages = [np.asarray(trace.z, float) for trace in found["chain"].data]
    chain = view.chain
    assert np.allclose(stages[0], chain.products)
    assert np.allclose(stages[1], chain.scores, equal_nan=True)
    assert np.allclose(stages[5], chain.out)
    labels = found["pattern"].layout.xaxis.ticktext
    assert "".join(labels) == TEXT.replace(" ", "␣").replace("\n", "↵")
    assert found["pattern"].data[0].text[2][1] == "2 b -> 1 b"


def test_one_layer_shows_its_heads_alone():
    found = draw(look(small.lively(), small.TOKENIZER, TEXT, layer=1))
    assert len(found["patterns"].data) == 2
    assert {name.split(".")[0] for name in found["worth"].data[0].x} == {"1"}


@pytest.mark.parametrize("layer", [None, 0])
def test_long_texts_are_reduced_and_say_so(layer):
    model = small.lively(block_size=600)
    view = look(model, small.TOKENIZER, "abcd efg\n" * 66, layer=layer, head=layer)
    for name, made in draw(view).items():
        if name == "worth":
            continue
        side = THUMBNAIL if name == "patterns" else LARGEST
        n = -(-594 // side)
        assert f"largest of {n} x {n}" in made.layout.title.text
        assert max(np.asarray(made.data[0].z).shape) == -(-594 // n)
        json.loads(made.to_json())


def test_blocks_keep_their_maxima():
    matrix = np.where(np.tri(10, dtype=bool), np.arange(100.0).reshape(10, 10), np.nan)
    small_one, n = reduced(matrix, 4)
    assert (n, small_one.shape) == (3, (4, 4))
    assert small_one[1, 0] == 52  # rows 3 to 5, columns 0 to 2
    assert np.isnan(small_one[0, 1])
    assert reduced(matrix, 10)[0] is matrix
