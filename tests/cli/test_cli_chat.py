"""`clearhead chat` from a pipe, and the smaller weights of `generate`."""

import builtins
import io
import json

import pytest

from clearhead.cli.main import main

TRAIN = ["--max_iters", "20", "--eval_interval", "20", "--eval_iters", "1", "--n_embd", "16", "--n_head", "2"]
TRAIN += ["--n_layer", "1", "--block_size", "16", "--batch_size", "4", "--device", "cpu"]


@pytest.fixture
def small(poem, tmp_path, monkeypatch):
    """A run in runs/, hardly trained."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(poem), "--name", "small", *TRAIN]) == 0


def chat(lines: str, capsys, monkeypatch, *flags: str) -> str:
    """What is printed when these lines are piped in."""
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["chat", "small", "--max_new_tokens", "20", *flags]) == 0
    return capsys.readouterr().out


def test_it_says_what_it_is_and_goes_on_from_what_was_typed(small, capsys, monkeypatch):
    said = chat("The wind\n\n", capsys, monkeypatch)
    assert "base model" in said
    assert "small, a gpt of" in said
    assert main(["generate", "small", "--prompt", "The wind", "--max_new_tokens", "20"]) == 0
    alone = capsys.readouterr().out.rstrip("\n")
    assert alone in said, "the first text is what generate writes"
    assert len(said.split(alone, 1)[1].strip("\n")) > 10, "an empty line goes on"


def test_the_same_beginning_goes_on_differently_until_the_seed_is_set_again(small, capsys, monkeypatch):
    said = chat("The\nThe\n/seed 1337\nThe\n/quit\nnever read\n", capsys, monkeypatch, "--temperature", "2")
    intro, rest = said.split("/help lists the rest.\n")
    before, after = rest.split("seed 1337, sample 0\n")
    assert before.startswith(after.rstrip("\n")), "sample 0 once more"
    assert before.count(after.strip("\n")) == 1
    assert "never read" not in said
    assert intro


def test_commands(small, capsys, monkeypatch):
    said = chat("The hill\n/why\n/temperature 0\n/why\n/ladder\n/history\n/help\n", capsys, monkeypatch)
    assert "at temperature 1:\n" in said
    first, greedy = said.split("at temperature 1:\n")[1].split("at temperature 0:\n")
    shares = [float(line.split("%")[0].split()[-1]) for line in first.splitlines() if "%" in line]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100
    assert greedy.splitlines()[0].split()[-2] == "100.00%"
    for rung in ("unigram", "bigram", "ngram", "gpt", "mixture"):
        assert f"--- {rung}\nThe hill" in said
    assert "  1  The hill\n" in said
    assert "/temperature" in said.split("  1  The hill\n")[1]


def test_what_cannot_be_done_is_a_note_and_the_chat_goes_on(small, capsys, monkeypatch):
    said = chat("/hlep\n/temperature hot\n/temperature -1\n/seed x\n/history\nThe\n/history\n", capsys, monkeypatch)
    assert "note: unknown command '/hlep': did you mean 'help'?" in said
    assert "note: 'hot' is no number; try 0.8" in said
    assert "note: temperature=-1.0 is outside" in said
    assert "note: 'x' is no number; try 7" in said
    assert said.endswith("  1  The\n")


def test_ctrl_c_at_the_prompt_ends_it_cleanly(small, capsys, monkeypatch):
    def interrupted(prompt: str = "") -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "input", interrupted)
    assert main(["chat", "small"]) == 0


def test_ctrl_c_in_a_text_ends_the_text_alone(small, capsys, monkeypatch):
    def stream(self, text, **settings):
        yield "half"
        raise KeyboardInterrupt

    monkeypatch.setattr("clearhead.api.Run.stream", stream)
    assert chat("The\n/history\n", capsys, monkeypatch).endswith("Thehalf\n  1  The\n")


def test_smaller_weights_say_what_they_cost(small, capsys):
    capsys.readouterr()
    for weights in ("int8", "bfloat16"):
        assert main(["generate", "small", "--weights", weights, "--max_new_tokens", "5", "--json"]) == 0
        said = capsys.readouterr()
        document = json.loads(said.out)
        cost = document["weights"]["bits_per_char"] - document["weights"]["float32_bits_per_char"]
        assert document["weights"]["kind"] == weights
        assert 0 < abs(cost) < 0.01
        assert f"note: {weights} weights: " in said.err
        assert f"({cost:+.4f})" in said.err
        assert len(document["samples"][0]) == 5


def test_counts_have_no_weights_to_make_smaller(small, poem, capsys):
    assert main(["train", str(poem), "--model", "ngram", "--name", "counted"]) == 0
    assert main(["generate", "counted", "--weights", "int8"]) == 2
    assert "multiplies no matrices" in capsys.readouterr().err


def test_log_probabilities_come_with_json(small, capsys):
    capsys.readouterr()
    assert main(["generate", "small", "--logprobs", "2"]) == 2
    assert "add --json" in capsys.readouterr().err
    flags = ["--logprobs", "2", "--max_new_tokens", "6", "--num_samples", "2", "--json"]
    assert main(["generate", "small", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    for sample, told in zip(document["samples"], document["logprobs"], strict=True):
        assert "".join(each["token"] for each in told) == sample
        for each in told:
            assert each["logprob"] <= 0
            assert [best["logprob"] for best in each["top"]] == sorted(
                (b["logprob"] for b in each["top"]), reverse=True
            )
            assert each["top"][0]["logprob"] >= each["logprob"]
