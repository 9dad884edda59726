"""`clearhead inspect step` as scripts and people meet it."""

import json

import pytest

import clearhead
from clearhead.cli.main import main
from runs.trained import copy_of


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that puts a finished run of a model into runs/."""
    monkeypatch.chdir(tmp_path)
    return lambda model: copy_of(model, tmp_path / "runs")


def test_a_gpt_forward_and_backward_with_its_own_optimizer(runs, capsys):
    folder = runs("gpt")
    before = {p.name: p.read_bytes() for p in sorted(folder.path.rglob("*.safetensors"))}
    assert main(["inspect", "step", "over the hill", "--backward"]) == 0
    said = capsys.readouterr().out
    for words in ("tok_emb", "softmax(wei)", "loss: y is the text one token later", "muon with its memory of step 30"):
        assert words in said
    assert "blocks.0.sa.qkv.weight" in said
    assert {p.name: p.read_bytes() for p in sorted(folder.path.rglob("*.safetensors"))} == before


def test_a_bigrams_gradient(runs, capsys):
    runs("bigram")
    assert main(["inspect", "step", "over the hill and the hill", "--backward", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)["backward"]
    assert back["gradient_error"] < 1e-6
    for cell in back["cells"]:
        expected = back["seen"] / back["pairs"] * (cell["probability"] - cell["share"])
        assert cell["gradient"] == pytest.approx(expected, abs=1e-6)


def test_the_page_needs_nothing_else(runs, tmp_path):
    runs("gpt")
    assert main(["inspect", "step", "over the hill", "--backward", "--html", "step.html"]) == 0
    page = (tmp_path / "step.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") >= 2
    assert 'src="http' not in page


def test_in_a_notebook(runs):
    run = clearhead.load(runs("gpt").path)
    seen = run.trace("over the hill and far")
    assert seen.idx.shape == (1, 16)
    assert seen.error < 1e-5
    assert "tok_emb" in str(run.one_step("over the hill"))
    assert list(run.attention("hill", layer=0, head=0).figures()) == ["pattern", "chain"]
    assert "patching" in run.lens("hill", other="hall").figures()


@pytest.mark.parametrize(
    ("argv", "words"),
    [([""], "the text is empty"), (["h", "--backward"], "one token"), (["hill", "--layer", "1"], "layers are 0 .. 0")],
)
def test_bad_input_is_one_line(runs, capsys, argv, words):
    runs("gpt")
    assert main(["inspect", "step", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert words in said.err


def test_an_ngram_makes_no_steps(runs, capsys):
    runs("ngram")
    assert main(["inspect", "step", "hill"]) == 2
    assert "an n-gram has no steps" in capsys.readouterr().err
