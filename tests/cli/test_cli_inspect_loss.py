"""`clearhead inspect loss` and `clearhead inspect report` as commands."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.cli.main import main

SMALL: dict[str, Any] = {
    "max_iters": 4,
    "eval_interval": 2,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
}
LOADED = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?https?:|@import""", re.I)


@pytest.fixture
def run(poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    clearhead.train(poem, name="small", device="cpu", progress=False, **SMALL)
    return "small"


def test_loss_prints_what_it_found(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "loss", "The rain\\nsang", run]) == 0
    said = capsys.readouterr().out
    for words in ("gpt 16", "mixture", "he␣rain↵sang", "costliest by token", "most surprised", "check: the groups"):
        assert words in said
    assert "\x1b[" not in said


def test_loss_as_json_and_page(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "loss", "--json", "--html", "loss"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["view"] == "loss"
    assert len(document["text"]["bits"]) == len(document["text"]["tokens"])
    assert document["groups"]["sum_error"] < 1e-9
    html = Path("loss.html").read_text(encoding="utf-8")
    assert not LOADED.search(re.sub(r"<script>.*?</script>", "", html, flags=re.S))
    assert html.count('class="plotly-graph-div"') == 4


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["", "small"], "empty"), (["T", "small"], "one token"), (["Ж!", "small"], "Ж"), (["The", "nowhere"], "nowhere")],
)
def test_bad_input_is_one_line(run: str, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "loss", *argv]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told


def test_report_is_a_page_in_this_folder(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "report", run]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == "report.html"
    assert "loss: Loss of small" in told.err
    html = Path("report.html").read_text(encoding="utf-8")
    for view in ("loss", "bigram", "embeddings", "attention", "lens", "next", "trick", "step", "init"):
        assert f'<h2 id="{view}">' in html
        assert f"\n{view} " in told.out


def test_report_as_json_writes_no_page(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "report", "--json", run]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["views"]["loss"]["view"] == "loss"
    assert not Path("report.html").exists()
