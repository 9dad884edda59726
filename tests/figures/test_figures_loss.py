"""The figures of a loss are its numbers, with white space that can be seen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.config import GPTConfig, RunConfig
from clearhead.data.prepare import prepare
from clearhead.figures.loss import figures
from clearhead.inspection.loss import Loss, loss
from clearhead.models.gpt import GPTLanguageModel


@pytest.fixture
def view(poem: Path) -> Loss:
    prepared = prepare(RunConfig(), [str(poem)])
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=prepared.tokenizer.vocab_size, block_size=8, n_embd=16, n_head=2, n_layer=1)
    return loss(GPTLanguageModel(config), prepared.tokenizer, prepared.data, "the rain\nsang " * 6, read=1 << 10)


def test_text_figure_is_the_bits_in_lines(view: Loss) -> None:
    drawn: Any = figures(view)["text"].data[0]
    z = [bits for row in drawn.z for bits in row if bits is not None]
    assert z == pytest.approx(view.text.bits.tolist())
    shown = "".join(cell for row in drawn.text for cell in row)
    assert shown == "".join(view.text.tokens)
    assert "␣" in shown
    assert "↵" in shown
    first = drawn.customdata[0][0]
    assert f"{view.text.bits[0]:.2f} bits" in first
    assert f"{view.text.choices[0][0][1]:.1%}" in first


def test_buttons_change_to_what_is_saved(view: Loss) -> None:
    layout: Any = figures(view)["text"].layout
    grids = [button.args[0]["z"][0] for button in layout.updatemenus[0].buttons]
    expected = [view.text.bits, *view.text.saved.values()]
    for grid, values in zip(grids, expected, strict=True):
        assert [bits for row in grid for bits in row if bits is not None] == pytest.approx(values.tolist())


def test_waterfall_bars_hang_from_rung_to_rung(view: Loss) -> None:
    data: Any = figures(view)["waterfall"].data
    bars = next(trace for trace in data if trace.type == "bar")
    rungs = {rung.name: rung for rung in view.waterfall.rungs}
    assert bars.x[0] == "uniform"
    for name, base, height in zip(bars.x, bars.base, bars.y, strict=True):
        over = rungs[name].over
        assert base + height == pytest.approx(rungs[over].nats if over else rungs[name].nats)
        assert base == pytest.approx(rungs[name].nats if over else 0)
    lines = {
        trace.name.split(",")[0]: trace.y[0] for trace in data if trace.type == "scatter" and trace.mode == "lines"
    }
    assert lines == {name: rungs[name].nats for name in ("unigram", "bigram", "ngram")}


def test_groups_are_points(view: Loss) -> None:
    data: Any = figures(view)["groups"].data
    points = next(trace for trace in data if trace.name == "by token")
    groups = [one for one in view.groups.by_token if one.count >= 20]
    assert list(points.x) == [one.ngram for one in groups]
    assert list(points.y) == [one.bits for one in groups]
    assert np.isfinite(points.marker.size).all()
