"""What every view owes its reader: JSON without NaN, words, figures that hold, a page that asks nobody for anything."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.api import Run
from clearhead.cli.inspect import VIEWS
from clearhead.figures import figures_of
from clearhead.figures.page import page
from clearhead.inspection.report import Report

TEXT = 'The wind went over the hill,\nand <b>rain</b> came & sang;\tI love "dogs", said the child: 1 + 1 = 2?\n'
"""With characters that pages and figures must not take for their own."""
KINDS = ("gpt", "mixture", "bigram", "ngram")
SMALL: dict[str, Any] = {
    "max_iters": 4,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 2,
    "block_size": 16,
    "batch_size": 4,
    "device": "cpu",
}
WITHOUT = {
    "gpt": set(),
    "mixture": set(),
    "bigram": {"attention", "lens"},
    "ngram": {"attention", "lens", "embeddings", "init", "step"},
}
"""Views that a kind of model must do without."""
LOADED = re.compile(
    r"""(?:src|href|action|srcset|poster)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?https?:|@import""", re.I
)
"""What would make a browser fetch something."""


@pytest.fixture(scope="module", params=KINDS)
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run, Report]:
    folder = tmp_path_factory.mktemp("views")
    (folder / "poem.txt").write_text(TEXT * 40, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        run = clearhead.train(
            folder / "poem.txt", model=request.param, out=folder / "runs", progress=False, eval_interval=2, **SMALL
        )
        shown = run.report()
    assert isinstance(shown.view, Report)
    return request.param, run, shown.view


def test_every_view_is_there_or_says_why_not(reported: tuple[str, Run, Report]) -> None:
    kind, _, report = reported
    failed = [one for one in report.left_out if one.failed]
    assert not failed
    names = [part.name for part in report.parts] + [one.name for one in report.left_out]
    assert sorted(names) == sorted(set(VIEWS) - {"report"})
    assert {one.name for one in report.left_out} == WITHOUT[kind]
    assert all(one.reason and "\n" not in one.reason for one in report.left_out)


def test_documents_are_json(reported: tuple[str, Run, Report]) -> None:
    _, _, report = reported
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(document["views"]) == [part.name for part in report.parts]
    for part in report.parts:
        assert document["views"][part.name]["title"] == part.view.title
        assert "\n" not in part.view.title


def test_words_are_words(reported: tuple[str, Run, Report]) -> None:
    for part in reported[2].parts:
        words = str(part.view)
        assert words.strip()
        assert "\t" not in words
        assert not re.search(r"\bnan\b|tensor\(|array\(|<[\w.]+ object at", words)


def test_figures_are_json_without_nan(reported: tuple[str, Run, Report]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for part in reported[2].parts:
        first, second = figures_of(part.view), figures_of(part.view)
        for name, drawn in first.items():
            text = str(drawn.to_json())
            json.loads(text, parse_constant=refuse)
            assert drawn.to_plotly_json()["layout"]["title"]["text"], f"{part.name} {name} has no title"
            assert text == str(second[name].to_json()), f"{part.name} {name} is not a function of its numbers"


def test_the_page_holds_all_and_loads_nothing(reported: tuple[str, Run, Report], tmp_path: Path) -> None:
    _, _, report = reported
    html = page([report], report.title)
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not LOADED.search(own)
    assert "<script src" not in html
    assert "<link" not in own
    figures = sum(len(figures_of(part.view)) for part in report.parts)
    assert html.count('class="plotly-graph-div"') == figures
    anchors, ids = re.findall(r'href="#([^"]+)"', own), re.findall(r' id="([^"]+)"', own)
    assert set(anchors) <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_view_that_fails_does_not_lose_the_others(
    reported: tuple[str, Run, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, run, _ = reported
    if kind != "bigram":
        pytest.skip("one kind is enough")

    def broken(text: str | None = None) -> None:
        raise RuntimeError("a <b>bug</b>\nin two lines")

    monkeypatch.setattr(run, "trick", broken, raising=False)
    monkeypatch.setattr(run, "init", broken, raising=False)
    monkeypatch.setattr(run, "embeddings", broken, raising=False)
    report = run.report().view
    assert isinstance(report, Report)
    lost = {one.name: one for one in report.left_out}
    assert lost["trick"].failed
    assert lost["trick"].reason == "RuntimeError: a <b>bug</b>"
    assert not lost["attention"].failed
    assert {"loss", "bigram"} <= {part.name for part in report.parts}
    assert "a &lt;b&gt;bug&lt;/b&gt;" in page([report], report.title)
