"""`clearhead prepare`, and the verbs that take what it makes."""

import json
from pathlib import Path

import pytest

from clearhead.cli import prepare
from clearhead.data.preparing.sharding import Progress

TINY = "--n_embd 16 --n_head 2 --n_layer 1 --block_size 16 --batch_size 4 --eval_iters 2 --device cpu".split()  # noqa: SIM905
SMALL = ["--workers", "1", "--shard_tokens", "2000"]


def test_a_text_is_prepared_looked_at_trained_on_and_judged(clearhead, poem):
    code, out, err = clearhead("prepare", poem, "--out", "tokens", *SMALL)
    assert code == 0
    assert out.splitlines()[-1] == "tokens"
    assert "train           8,286 characters" in out
    assert [line.split(":")[0] for line in err.splitlines()] == ["looking", "encoding"]
    code, out, _ = clearhead("look", "tokens", "--json")
    assert (code, json.loads(out)["split"]["val"]["tokens"]) == (0, 940)
    assert json.loads(out)["begins"].startswith("The wind went over")
    code, out, _ = clearhead("train", "tokens", *TINY, "--max_iters", 4, "--json", "--name", "run")
    told = json.loads(out)
    assert (code, told["steps"]) == (0, 4)
    code, out, _ = clearhead("resume", "run", "--max_iters", 6, "--json")
    assert (code, json.loads(out)["steps"]) == (0, 6)
    code, out, _ = clearhead("ladder", "tokens", "run", "--json")
    names = [rung["name"] for rung in json.loads(out)["rungs"]]
    assert code == 0
    assert {"uniform", "bigram", "ngram", "gpt"} <= set(names)
    assert names.count("ngram") == 1, "the same text and tokenizer: counted rungs appear once"
    assert clearhead("generate", "run", "--max_new_tokens", 5)[0] == 0
    assert clearhead("runs", "verify", "run")[0] == 0
    code, _, err = clearhead("runs", "export", "run", "--with_tokens")
    assert (code, err.count("\n")) == (2, 1)
    assert "trained on a prepared folder" in err


def test_json_is_one_document(clearhead, poem):
    code, out, _ = clearhead(
        "prepare", poem, "--out", "tokens", "--tokenizer", "bpe", "--vocab_size", 300, *SMALL, "--json"
    )
    told = json.loads(out)
    assert (code, told["tokenizer"], told["vocab_size"], told["dtype"]) == (0, "bpe", 300, "uint16")
    assert told["sources"] == [{"name": "poem.txt", "bytes": 9396, "weight": None}]
    assert sum(split["characters"] for split in told["splits"].values()) == 9396


def test_a_finished_folder_is_verified(clearhead, poem):
    clearhead("prepare", poem, "--out", "tokens", *SMALL)
    code, _, err = clearhead("prepare", "--out", "tokens")
    assert (code, err.split(":")[0]) == (0, "verifying")
    shard = Path("tokens/train-00001.bin")
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    for words in (("--out", "tokens"), (poem, "--out", "tokens", *SMALL)):
        code, _, err = clearhead("prepare", *words)
        assert code == 2
        assert "train-00001.bin has changed since it was written" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["poem"], "the folder is missing: clearhead prepare SOURCE... --out FOLDER"),
        (["nowhere.txt", "--out", "x"], "'nowhere.txt' does not exist"),
        (["-", "--out", "x"], "standard input can be read only once"),
        (["poem", "--out", "x", "--shard_tokens", "0"], "shard_tokens=0 must be at least 1"),
        (["poem", "--out", "x", "--tokenizer", "chr"], "did you mean 'char'?"),
        (["poem", "--out", "x", "--tokenizer", "gone.json"], "gone.json is no tokenizer file"),
        (["--out", "x"], "has no manifest.json"),
    ],
)
def test_what_is_wrong_is_one_line(clearhead, poem, words, reason):
    code, out, err = clearhead("prepare", *(poem if word == "poem" else word for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert not Path("x").exists() or reason.startswith("has no")


def test_the_line_says_how_far_and_how_long(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(prepare.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(prepare.sys.stderr, "isatty", lambda: True)
    line = prepare.Line(begun=99.0)
    line.show(Progress("look", 0, 400_000_000))
    now[0] += 10
    line.show(Progress("look", 100_000_000, 400_000_000))
    assert capsys.readouterr().err.endswith("looking: 100 of 400 MB (25%), 10 MB/s, 30.0 s left")
    line.show(Progress("look", 100_000_001, 400_000_000))
    assert capsys.readouterr().err == "", "at most once a second"
    line.show(Progress("look", 400_000_000, 400_000_000))
    line.show(Progress("encode", 0, 400_000_000))
    assert capsys.readouterr().err.startswith("\r\x1b[Klooking: 400 of 400 MB (100%), 40 MB/s\n")
