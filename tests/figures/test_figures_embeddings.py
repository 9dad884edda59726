import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import clearhead
from clearhead.figures import figures_of
from clearhead.figures.labels import LETTER, LINE, PLOT, plain
from clearhead.inspection.embeddings import Embeddings
from conftest import POEM

SETTINGS: dict[str, Any] = {
    "max_iters": 8,
    "eval_interval": 4,
    "save_interval": 4,
    "eval_iters": 1,
    "n_embd": 16,
    "n_head": 2,
}
SETTINGS |= {"n_layer": 1, "block_size": 16, "batch_size": 4, "progress": False}


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> Iterator[Embeddings]:
    folder = tmp_path_factory.mktemp("figures")
    (folder / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(folder / "cache"))
        shown = clearhead.train(folder / "poem.txt", out=folder / "runs", **SETTINGS).embeddings()
        assert isinstance(shown.view, Embeddings)
        yield shown.view


def test_the_space_comes_first_and_says_what_it_loses(view):
    made = figures_of(view)
    assert next(iter(made)) == "space-embedding"
    assert {"space-head", "through-embedding", "solid-head", "dimensions-embedding", "direct-path"} <= set(made)
    found = view.tables[0]
    assert made["space-embedding"].to_dict()["layout"]["annotations"][0]["text"].startswith(found.flat.words)


def test_every_token_stands_where_its_numbers_say(view):
    made: Any = figures_of(view)["space-embedding"]
    drawn = {
        said.split(": ")[0] or ":": (x, y)
        for trace in made.data
        for said, x, y in zip(trace.hovertext, trace.x, trace.y, strict=True)
    }
    assert set(drawn) == set(view.tokens)
    for token, point in zip(view.tokens, view.tables[0].flat.points, strict=True):
        np.testing.assert_allclose(drawn[token], point)


def test_labels_show_white_space_and_do_not_lie_on_each_other(view):
    made: Any = figures_of(view)["space-embedding"]
    labelled = [(t, x, y) for trace in made.data for t, x, y in zip(trace.text, trace.x, trace.y, strict=True) if t]
    assert "␣" in {text for text, _, _ in labelled}
    points = view.tables[0].flat.points
    width, height = PLOT / np.ptp(points, axis=0)
    for i, (_, x, y) in enumerate(labelled):
        for _, other_x, other_y in labelled[:i]:
            assert abs(x - other_x) * width > LETTER or abs(y - other_y) * height > LINE
    written = f"{len(labelled)} of {len(view.tokens)} tokens written"
    assert (written in made.to_dict()["layout"]["annotations"][0]["text"]) == (len(labelled) < len(view.tokens))


def test_the_slider_goes_through_the_checkpoints(view):
    made: Any = figures_of(view)["through-embedding"]
    assert [step["label"] for step in made.to_dict()["layout"]["sliders"][0]["steps"]] == [
        f"{m.step:,}" for m in view.tables[0].through
    ]
    assert [trace.visible for trace in made.data] == [False] * (len(made.data) - 1) + [True]


def test_figures_are_json_without_nan(view):
    for made in figures_of(view).values():
        json.loads(str(made.to_json()), parse_constant=lambda word: pytest.fail(word))


def test_no_token_is_taken_for_a_tag():
    assert plain("<b>") == "<\u200bb>"
