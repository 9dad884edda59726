"""`clearhead inspect lens` as scripts and people meet it."""

import json

import pytest

from clearhead.cli.main import main
from runs.trained import copy_of


@pytest.fixture
def gpt(tmp_path, monkeypatch):
    """A small GPT on the poem, in runs/."""
    monkeypatch.chdir(tmp_path)
    copy_of("gpt", tmp_path / "runs")


def test_readings_parts_and_patching(gpt, capsys):
    assert main(["inspect", "lens", "over the h", "--patch", "over the s", "--token", "i", "--against", " "]) == 0
    said = capsys.readouterr().out
    for words in ("feed-forward 0", "KL to", "the logit of i less logit of ␣", "check: parts sum to", "A over␣the␣h"):
        assert words in said


def test_the_document(gpt, capsys):
    assert main(["inspect", "lens", "over the hill", "--position", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = document["decomposition"]
    assert found["position"] == 4
    assert sum(part["logit"] for part in found["parts"]) == pytest.approx(found["logit"], abs=1e-5)
    assert found["error"] <= 1e-5
    assert document["patching"] is None
    assert [len(row) for row in document["readings"]["rank"]] == [12, 12, 12]


def test_the_page_needs_nothing_else(gpt, tmp_path):
    assert main(["inspect", "lens", "over the hill", "--html", "seen"]) == 0
    page = (tmp_path / "seen.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") >= 3
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([""], "the text is empty"),
        (["the \u00fc"], "'\u00fc'"),
        (["the", "--token", "th"], "not one token"),
        (["the", "--position", "7"], "positions are 0 .. 2"),
        (["the", "--patch", "then"], "3 and 4 tokens"),
    ],
)
def test_bad_input_is_one_line(gpt, capsys, argv, words):
    assert main(["inspect", "lens", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err


def test_a_bigram_has_no_layers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy_of("bigram", tmp_path / "runs")
    assert main(["inspect", "lens", "the"]) == 2
    assert "a bigram has no layers" in capsys.readouterr().err


def test_a_mixture_is_read_by_its_gpt(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy_of("mixture", tmp_path / "runs")
    assert main(["inspect", "lens", "the hill"]) == 0
    assert "the GPT of the mixture" in capsys.readouterr().out
