"""`clearhead inspect embeddings` and `inspect init` as scripts and people meet them."""

import json
import re

import pytest

from clearhead.cli.main import main
from conftest import POEM

TRAIN = ["--max_iters", "6", "--eval_iters", "1", "--n_embd", "16", "--n_head", "2", "--n_layer", "1"]
TRAIN += ["--block_size", "16", "--batch_size", "4"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(folder / "cache"))
        out = str(folder / "runs")
        assert main(["train", str(folder / "poem.txt"), "--model", "ngram", "--out", out, "--name", "counted"]) == 0
        assert main(["train", str(folder / "poem.txt"), "--out", out, "--name", "small", *TRAIN]) == 0
    return out


def said(capsys, *argv: str) -> str:
    capsys.readouterr()
    assert main(["inspect", *argv]) == 0
    return capsys.readouterr().out


def test_text_and_json_of_embeddings(runs, capsys):
    text = said(capsys, "embeddings", "small", "--out", runs, "--tokens", "e", "␣", "--analogy", "a", "e", "i")
    assert text.startswith("Embeddings of small: ")
    assert "a is to e as i is to ?" in text
    assert "direct path RMSNorm(E) U^T" in text
    document = json.loads(
        said(capsys, "embeddings", "--out", runs, "--json", "--also", "small", "--analogy", "a", "e", "i")
    )
    assert document["view"] == "embeddings"
    assert len(document["tables"][0]["neighbours"]["cosine"]) == len(document["tokens"])
    assert len(document["analogies"][0]["answers"]) == 4


def test_text_and_json_of_init(runs, capsys):
    capsys.readouterr()
    assert main(["inspect", "init", "small", "--out", runs, "--steps", "2"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("Initialisations of small: 12 starts, 2 steps each")
    assert len(told.err.splitlines()) == 12
    assert told.err.startswith("1 of 12: normal, ")
    document = json.loads(said(capsys, "init", "small", "--out", runs, "--steps", "1", "--json"))
    assert document["view"] == "init"
    assert len(document["starts"]) == 12


@pytest.mark.parametrize("view", [["embeddings"], ["init", "--steps", "1"]])
def test_html_loads_nothing(view, runs, capsys, tmp_path):
    page = tmp_path / "page.html"
    assert str(page) in said(capsys, *view, "small", "--out", runs, "--html", str(page))
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*[\"']?https?:", html)
    assert "Plotly.newPlot" in html


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["embeddings", "counted"], "counts and has no embeddings"),
        (["init", "counted"], "is counted and has no initialisation"),
        (["embeddings", "small", "--dimension", "99"], "no dimension 99; dimensions are 0 .. 15"),
        (["embeddings", "small", "--tokens", "Q"], "'Q' is no token of this model"),
        (["embeddings", "small", "--analogy", "a", "b"], "analogy"),
        (["embeddings", "nowhere"], "no run 'nowhere'"),
        (["embeddings", "small", "--analogy", "a", "b"], "--analogy takes three tokens and 2 were given"),
        (["init", "small", "--steps", "0"], "steps=0 must be at least 1"),
    ],
)
def test_bad_input_is_one_line(argv, words, runs, capsys):
    capsys.readouterr()
    assert main(["inspect", *argv, "--out", runs]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert words in told.err
