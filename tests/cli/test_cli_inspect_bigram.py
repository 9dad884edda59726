"""`clearhead inspect bigram`, `next` and `trick` as scripts and people meet them."""

import json
import re

import pytest

from clearhead.cli.main import main
from runs.trained import copy_of


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that puts a finished run of a model into runs/."""
    monkeypatch.chdir(tmp_path)
    return lambda model: copy_of(model, tmp_path / "runs")


def test_a_verdict_and_an_entry(runs, capsys):
    runs("bigram")
    assert main(["inspect", "bigram"]) == 0
    said = capsys.readouterr().out
    for words in ("bits above the floor of", "leak", "misfit", "not stabilised", "check: floor", "through training"):
        assert words in said
    assert main(["inspect", "bigram", "t", "h", "bigram"]) == 0
    assert re.search(r"after t comes h in [\d,]+ of [\d,]+ cases", capsys.readouterr().out)
    assert main(["inspect", "bigram", "\\n", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pair"]["current"] == "↵"


def test_next_is_what_generate_writes(runs, capsys):
    runs("mixture")
    flags = ["--temperature", "0.8", "--top_k", "10", "--seed", "3"]
    assert main(["inspect", "next", "over the hi", *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main(["generate", "--prompt", "over the hi", *flags, "--max_new_tokens", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == [document["token"].replace("␣", " ").replace("↵", "\n")]
    assert len(document["candidates"]) > 20
    assert main(["inspect", "next", "over the hi", *flags]) == 0
    assert "check: generate draws the same token" in capsys.readouterr().out


def test_the_trick_in_words(runs, capsys):
    runs("gpt")
    assert main(["inspect", "trick", "over the hill"]) == 0
    said = capsys.readouterr().out
    assert all(way in said for way in ("loop", "triangular matrix", "softmax of a mask", "attention, equal keys"))
    assert "0.333  0.333  0.333" in said


@pytest.mark.parametrize("argv", [["bigram"], ["bigram", "t", "h"], ["next", "over"], ["trick", "over"]])
def test_pages_need_nothing_else(runs, tmp_path, argv):
    runs("bigram")
    assert main(["inspect", *argv, "--html", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot(" in page
    assert 'src="http' not in page
    assert "<script src" not in page


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["bigram", "é", "t"], "'é' is no token"),
        (["bigram", "a", "b", "c", "d"], "4 words are too many"),
        (["next", ""], "the prompt is empty"),
        (["next", "é"], "has never seen 'é'"),
        (["next", "a", "--top_k", "0"], "top_k=0 leaves no token"),
        (["next", "a", "--row", "-2"], "row=-2"),
        (["trick", ""], "the text is empty"),
        (["trick", "é"], "'é'"),
    ],
)
def test_bad_input_is_one_line(runs, capsys, argv, words):
    runs("bigram")
    assert main(["inspect", *argv]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
