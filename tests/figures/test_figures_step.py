"""Figures of a step hold the numbers they are made of."""

import json

import pytest
import torch

import inspection.tiny_models as small
from clearhead.figures.step import figures
from clearhead.inspection.step import step
from clearhead.models.bigram import BigramLanguageModel

TEXT = "abba cab\nab"

look, draw = small.untyped(step), small.untyped(figures)


def test_what_moved_and_the_sizes():
    model = small.lively("gpt2")
    with torch.no_grad():
        model.blocks[0].sa.proj.bias.zero_()
    view = look(model, small.TOKENIZER, TEXT, backward=True)
    found = draw(view)
    assert list(found) == ["moved", "sizes"]
    ratios = {t.name: t.ratio for t in view.backward.tensors if t.ratio}
    assert dict(zip(found["moved"].data[0].y, found["moved"].data[0].x, strict=True)) == ratios
    assert "blocks.0.sa.proj.bias" not in ratios
    assert len(found["sizes"].data[0].y) == 4
    for made in found.values():
        json.loads(made.to_json())


def test_a_bigrams_row():
    view = look(BigramLanguageModel(13), small.TOKENIZER, TEXT, backward=True)
    found = draw(view)
    assert list(found) == ["row"]
    softmax, share, gradient = found["row"].data
    assert "␣" in softmax.x
    for p, q, g in zip(softmax.y, share.y, gradient.y, strict=True):
        assert g == pytest.approx(q - p, abs=1e-6)


def test_a_bigram_without_a_step_is_words_only():
    assert draw(look(BigramLanguageModel(13), small.TOKENIZER, TEXT)) == {}
