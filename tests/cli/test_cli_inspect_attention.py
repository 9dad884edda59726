"""`clearhead inspect attention` as scripts and people meet it."""

import json

import pytest

from clearhead.cli.main import main
from runs.trained import copy_of


@pytest.fixture
def gpt(tmp_path, monkeypatch):
    """A small GPT on the poem, in runs/."""
    monkeypatch.chdir(tmp_path)
    copy_of("gpt", tmp_path / "runs")


def test_the_table_names_every_head(gpt, capsys):
    assert main(["inspect", "attention", "the wind and the rain"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Attention of gpt: 1 layers of 2 heads, on 16 tokens")
    for words in ("these are the last 16", "0.0 ", "0.1 ", "chance", "nats per token with all heads", "check:"):
        assert words in said


def test_without_a_text_it_is_the_validation_text(gpt, capsys):
    assert main(["inspect", "attention"]) == 0
    assert "where the validation text begins" in capsys.readouterr().out


def test_one_word_that_names_a_run_is_the_run(gpt, capsys):
    for view in ("attention", "lens", "step", "trick", "next", "loss"):
        assert main(["inspect", view, "gpt"]) == 0
        alone = capsys.readouterr().out
        assert main(["inspect", view, "--out", "runs"]) == 0
        assert capsys.readouterr().out == alone, "of the newest run, on no text"
    assert main(["inspect", "attention", "and " * 200]) == 0, "longer than any name of a folder"


def test_the_chain_as_json(gpt, capsys):
    assert main(["inspect", "attention", "hill\\nand", "gpt", "--layer", "0", "--head", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["view"] == "attention"
    assert "".join(document["tokens"]) == "hill↵and"
    chain = document["chain"]
    assert chain["scores"][0][1] is None, "the future has no score"
    assert sum(chain["wei"][7]) == pytest.approx(1)
    assert document["scores"] is None, "a chain is worked out instead"


def test_the_page_needs_nothing_else(gpt, capsys, tmp_path):
    assert main(["inspect", "attention", "over the hill", "--html", "seen.html"]) == 0
    assert capsys.readouterr().out.endswith("seen.html\n")
    page = (tmp_path / "seen.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") >= 2
    assert 'src="http' not in page
    assert "What each head looks at" in page


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([""], "the text is empty"),
        (["caf\u00e9"], "'\u00e9'"),
        (["the", "--layer", "3"], "no layer 3; layers are 0 .. 0"),
        (["the", "--layer", "0", "--head", "9"], "no head 9; heads are 0 .. 1"),
        (["the", "nowhere"], "nowhere"),
        (["the", "--lair", "0"], "--layer"),
    ],
)
def test_bad_input_is_one_line(gpt, capsys, argv, words):
    assert main(["inspect", "attention", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err


@pytest.mark.parametrize(("model", "words"), [("bigram", "a bigram has no heads"), ("ngram", "an n-gram has no heads")])
def test_models_without_heads_say_so(model, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy_of(model, tmp_path / "runs")
    assert main(["inspect", "attention", "the"]) == 2
    assert words in capsys.readouterr().err


def test_a_text_that_is_gone_leaves_the_patterns(gpt, capsys, monkeypatch):
    from clearhead.errors import CorpusError
    from clearhead.views import Inspectable

    def gone(self):
        raise CorpusError("the text is gone")

    monkeypatch.setattr(Inspectable, "data", property(gone))
    assert main(["inspect", "attention", "the hill"]) == 0
    assert "the run's text is not at hand" in capsys.readouterr().out
    assert main(["inspect", "attention"]) == 2
    assert "the text is gone" in capsys.readouterr().err
