import base64
import json

import numpy as np
import pytest

import clearhead
from clearhead.api import Run
from clearhead.figures.bigram import figures
from clearhead.figures.next import figures as next_figures
from clearhead.figures.trick import figures as trick_figures
from inspection.tiny_models import untyped
from runs.trained import copy_of


@pytest.fixture
def run(tmp_path):
    return Run(copy_of("bigram", tmp_path))


def _as_written(heatmap) -> np.ndarray:
    """The cells of a heatmap as they stand in the JSON that a page is given."""
    z = json.loads(heatmap.to_json())["data"][0]["z"]
    rows, columns = map(int, z["shape"].split(","))
    return np.frombuffer(base64.b64decode(z["bdata"]), dtype=z["dtype"]).reshape(rows, columns)


def test_the_tables_are_the_numbers(run):
    view = untyped(run.bigram().view)
    drawn = untyped(figures(view))
    assert list(drawn) == ["history", "rows", "counts", "softmax", "difference"]
    cells = _as_written(drawn["softmax"])
    np.testing.assert_allclose(cells**2, view.drawn.probability, atol=1e-12)
    np.testing.assert_allclose((cells**2).sum(1), 1, atol=1e-9)
    counts = np.array(drawn["counts"].data[0].customdata, dtype=object)[:, :, 0]
    assert counts.sum() == sum(view.seen.count)
    assert "␣" in drawn["counts"].layout.xaxis.ticktext
    assert "↵" in drawn["counts"].layout.yaxis.ticktext
    assert list(drawn["history"].data[0].y) == [moment.gap for moment in view.history]
    assert sum(drawn["rows"].data[0].y) <= view.bits.gap * (1 + 1e-9)


def test_a_pair_is_its_row(run):
    view = untyped(run.bigram("t", "h").view)
    share, table = untyped(figures(view))["row"].data
    assert list(table.y) == [s.probability for s in view.pair.row[: len(table.y)]]
    assert list(share.y) == [s.share for s in view.pair.row[: len(share.y)]]


def test_a_large_vocabulary_says_what_is_drawn(tmp_path):
    text = tmp_path / "words.txt"
    text.write_text(" ".join(f"w{i % 150}x w{i * 7 % 41}x" for i in range(3000)), encoding="utf-8")
    settings = {"max_iters": 2, "eval_interval": 2, "eval_iters": 1, "block_size": 8, "batch_size": 2, "device": "cpu"}
    run = clearhead.train(text, model="bigram", tokenizer="word", out=tmp_path, progress=False, **settings)
    view = untyped(run.bigram().view)
    drawn = untyped(figures(view))["counts"]
    assert len(drawn.data[0].z) == 64
    assert f"the 64 most frequent of {run.tokenizer.vocab_size:,} tokens" in drawn.layout.title.text
    assert sum(view.seen.count) == len(run.data.ids("train")) - 1


def test_the_ladder_and_the_draw(run):
    view = untyped(run.next("over the", temperature=0.8, top_k=5).view)
    drawn = untyped(next_figures(view))
    ghost, final = drawn["ladder"].data[-2:]
    shown = len(final.x)
    assert list(final.x) == [c.probability for c in view.candidates[:shown]]
    assert list(ghost.x) == [c.before for c in view.candidates[:shown]]
    bar = drawn["draw"].data[0]
    assert sum(bar.x) == pytest.approx(1)
    assert drawn["draw"].layout.shapes[0].x0 == view.u
    assert len(bar.x) == 5
    json.loads(drawn["ladder"].to_json(), parse_constant=pytest.fail)


def test_the_trick(run):
    view = untyped(run.trick("over the hill").view)
    wei, x, averages = untyped(trick_figures(view))["trick"].data
    assert list(wei.z[1][:2]) == pytest.approx([0.5, 0.5])
    assert wei.z[1][2] is None, "the future is blank"
    assert np.array(x.z).tolist() == view.x.tolist()
    assert np.array(averages.z).tolist() == view.averages.tolist()
