"""`clearhead tokenize`, and BPE from the command line to the ladder."""

import json

import pytest

TINY = [
    "--n_embd",
    "16",
    "--n_head",
    "2",
    "--n_layer",
    "1",
    "--block_size",
    "16",
    "--batch_size",
    "4",
    "--eval_iters",
    "2",
]
TINY += ["--device", "cpu", "--max_iters", "5"]


def test_the_pieces_of_a_text_are_shown(clearhead):
    code, said, _ = clearhead("tokenize", "the cat and the hat and\\n", "the cat", "--tokenizer", "bpe")
    assert code == 0
    assert said.startswith("the ·cat ·and ·the · h at ·and ↵\n·the ·cat ")
    assert "characters per token" in said
    assert "fewer than 10 times" in said


def test_json_has_all_figures(clearhead, poem):
    code, said, _ = clearhead("tokenize", poem, "--tokenizer", "bpe", "--vocab_size", 300, "--json")
    document = json.loads(said)
    assert code == 0
    assert (document["tokenizer"], document["vocab_size"], document["characters"]) == ("bpe", 300, 9_396)
    assert document["characters_per_token"] == pytest.approx(9_396 / document["tokens"])
    assert document["characters_per_token"] > 1.5
    assert "".join(piece["text"] for piece in document["pieces"]).startswith("The·wind")
    assert document["use"]["used"] <= document["use"]["entries"] == 300


def test_the_tokenizer_of_the_latest_run_is_the_default(clearhead, poem):
    assert clearhead("tokenize", "the hill")[0] == 2, "there is no run yet"
    clearhead("train", poem, "--name", "mine", "--tokenizer", "bpe", "--vocab_size", 300, *TINY)
    for words in ([], ["--run", "mine"]):
        document = json.loads(clearhead("tokenize", "the hill", *words, "--json")[1])
        assert (document["from"], [piece["text"] for piece in document["pieces"]]) == (
            "of run mine",
            ["t", "he", "·hill"],
        )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no text"),
        (["x", "--run", "a", "--tokenizer", "bpe"], "--tokenizer does not apply"),
        (["x", "--tokenizer", "bqe"], "did you mean 'bpe'"),
        (["x", "--tokenizer", "none.json"], "none.json"),
        (["x", "--tokenizer", "bpe", "--vocab_size", "99"], "vocab_size=99"),
        (["x", "--tokenizer", "bpe", "--unk"], "do not apply"),
        (["x", "--tokenizer", "a.json", "--vocab_size", "999"], "do not apply"),
        (["gone/by.txt", "--tokenizer", "bpe"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(clearhead, words, says):
    code, said, told = clearhead("tokenize", *words)
    assert (code, said, len(told.splitlines())) == (2, "", 1)
    assert says in told


def test_runs_of_all_tokenizers_stand_on_one_ladder(clearhead, poem):
    """Each with its own counted rungs, in bits per character; two BPEs are not taken for one."""
    clearhead("train", poem, "--name", "char", *TINY)
    for size in (270, 300):
        clearhead("train", poem, "--name", f"bpe{size}", "--tokenizer", "bpe", "--vocab_size", size, *TINY)
    code, said, _ = clearhead("ladder", "char", "bpe270", "bpe300", "--json")
    rungs = json.loads(said)["rungs"]
    assert code == 0
    for name in ("uniform", "unigram", "bigram", "ngram"):
        assert {rung["vocab_size"] for rung in rungs if rung["name"] == name} == {26, 270, 300}, name
    assert sorted(rung["run"] for rung in rungs if rung["name"] == "gpt") == ["bpe270", "bpe300", "char"]
    bits = [rung["bits_per_char"] for rung in rungs]
    assert bits == sorted(bits, reverse=True)
    assert "270 bpe tokens" in clearhead("ladder", "char", "bpe270")[1]
    assert "different tokenizers" in clearhead("ladder", "--compare", "char", "bpe270")[1]


def test_a_run_trains_with_a_file_of_a_tokenizer(clearhead, poem, tmp_path):
    clearhead("train", poem, "--name", "first", "--tokenizer", "bpe", "--vocab_size", 280, *TINY)
    path = tmp_path / "runs" / "first" / "tokenizer.json"
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))["tokenizer"]), encoding="utf-8")
    for name, file in (("second", path), ("third", theirs)):
        assert clearhead("train", poem, "--name", name, "--tokenizer", file, *TINY)[0] == 0
        assert (tmp_path / "runs" / name / "tokenizer.json").read_bytes() == path.read_bytes()
    assert clearhead("generate", "third", "--prompt", "The é日", "--max_new_tokens", 5)[0] == 0
