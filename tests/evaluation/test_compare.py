"""Two sides of runs: what they are, what is refused, and what the figures say."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clearhead
from clearhead.errors import CheckpointError, ClearheadError, ConfigError, CorpusError
from clearhead.evaluation.bootstrap import Interval
from clearhead.evaluation.compare import Comparison, Side, named_runs
from clearhead.runs.directory import RunDirectory

SMALL: dict[str, Any] = {"n_embd": 8, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4, "eval_iters": 1}
SMALL |= {"max_iters": 4, "eval_interval": 4, "device": "cpu", "progress": False}


def write(path: Path, seed: int = 0, lines: int = 500) -> Path:
    """Lines of words; the later ones hold words of their own."""
    rng = np.random.default_rng(seed)
    words = ["rain", "wind", "hill", "the", "sea,", "moon", *(f"w{i}" for i in range(40))]
    text = "\n".join(" ".join(rng.choice(words[: 6 + 40 * i // lines], size=5)) for i in range(lines))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Runs on one text: a (two seeds), b (trained for longer), words, counts; and one on another text."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(folder / "cache"))
        text, runs = write(folder / "text.txt"), folder / "runs"
        for seed in (1, 2):
            clearhead.train(text, out=runs, name=f"a-{seed}", seed=seed, **SMALL)
        clearhead.train(text, out=runs, name="b", **{**SMALL, "max_iters": 40})
        clearhead.train(text, out=runs, name="words", tokenizer="word", **SMALL)
        clearhead.train(text, out=runs, name="counts", model="ngram", progress=False)
        clearhead.train(write(folder / "other.txt", 1), out=runs, name="other", **SMALL)
    return runs


def names(runs: list[RunDirectory]) -> list[str]:
    return [run.name for run in runs]


def test_a_side_is_a_run_a_list_or_a_pattern(out, monkeypatch):
    assert names(named_runs("b", out)) == ["b"]
    assert names(named_runs(str(out / "b"), Path("elsewhere"))) == ["b"]
    assert names(named_runs("a-2, a-1", out)) == ["a-2", "a-1"]
    assert names(named_runs("a-*,b", out)) == ["a-1", "a-2", "b"]
    assert names(named_runs(str(out / "a-[12]"), Path("elsewhere"))) == ["a-1", "a-2"]
    monkeypatch.chdir(out)
    assert names(named_runs("a-*", Path("elsewhere"))) == ["a-1", "a-2"]
    for missing in ("z", "z-*"):
        with pytest.raises(CheckpointError, match=f"no run .*'{missing.replace('*', '.')}'"):
            named_runs(missing, out)


def test_the_figures_are_those_of_the_ladder(out):
    found = clearhead.compare("a-*", "counts", out=out)
    rungs = [clearhead.load(f"a-{seed}", out=out).ladder()["gpt"] for seed in (1, 2)]
    ngram = clearhead.load("counts", out=out).ladder().rungs[-1]
    assert found.a.runs == ("a-1", "a-2")
    assert found.a.nats_per_token == pytest.approx([rung.nats_per_token for rung in rungs])
    assert found.a.bits_per_char == pytest.approx([rung.bits_per_char for rung in rungs])
    assert found.b.bits_per_char == pytest.approx([ngram.bits_per_char])
    nats = sum(rung.nats_per_token for rung in rungs) / 2 - ngram.nats_per_token
    assert found.nats_per_token is not None
    assert found.nats_per_token.value == pytest.approx(nats)
    assert found.bits_per_char.value == pytest.approx(found.a.mean_bits_per_char - found.b.mean_bits_per_char)
    assert found.better == "B"
    assert found.verdict.startswith(f"B is better by {nats:.4f} nats per token (95 % ")


def test_sides_change_places(out):
    one, other = (clearhead.compare(*sides, out=out) for sides in (("a-1", "b"), ("b", "a-1")))
    assert (one.better, other.better) == ("B", "A")
    assert one.verdict[1:] == other.verdict[1:]
    assert one.bits_per_char.value == -other.bits_per_char.value


def test_a_run_against_itself(out):
    found = clearhead.compare("b", out / "b", out=out)
    assert found.nats_per_token == Interval(0.0, 0.0, 0.0)
    assert found.better is None
    assert found.verdict.startswith("no difference shown: A - B is +0.0000 nats per token")


def test_it_says_what_the_interval_does_not_hold(out):
    assert "A and B are one run each" in str(clearhead.compare("a-1", "b", out=out))
    assert "B is one run: " in str(clearhead.compare("a-*", "b", out=out))
    assert "A is one run: " in str(clearhead.compare("a-1", "counts", out=out)), "counting has no seed"
    found = clearhead.compare(["a-1", "a-2"], "counts", out=out)
    assert not any("one run" in note for note in found.notes)
    assert any("short, and so are its blocks" in note for note in found.notes)


def test_tokenizers_are_compared_in_bits_per_character(out):
    found = clearhead.compare("words", "b", out=out)
    assert found.nats_per_token is None
    assert "bits per character" in found.verdict
    assert any(note.startswith("different tokenizers") for note in found.notes)
    assert found.bits_per_char.value == pytest.approx(found.a.bits_per_char[0] - found.b.bits_per_char[0])


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("a-1,b", "words", r"'a-1' and 'b' differ in train.max_iters: 4 and 40"),
        ("a-1", "a-1,a-1", "same seed 1"),
        ("a-1", "other", "different validation texts"),
        ("a-1,other", "b", "'a-1' and 'other' differ in text"),
        ([], "b", "side A of the comparison has no run"),
    ],
)
def test_what_cannot_be_compared_is_refused(out, a, b, says):
    with pytest.raises(ConfigError, match=says):
        clearhead.compare(a, b, out=out)


def test_an_unfinished_run_is_no_run_of_its_configuration(out, tmp_path):
    for name in ("a-1", "a-2"):
        shutil.copytree(out / name, tmp_path / name)
    events = (tmp_path / "a-2" / "events.jsonl").read_text().splitlines()
    kept = [line for line in events if json.loads(line)["event"] != "finished"]
    (tmp_path / "a-2" / "events.jsonl").write_text("\n".join(kept) + "\n")
    with pytest.raises(ConfigError, match="'a-2' is not at its end; finish it with: clearhead resume"):
        clearhead.compare("a-*", "a-1", out=tmp_path)


def test_training_numbers_are_not_compared(tmp_path):
    (tmp_path / "tiny.txt").write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    clearhead.train(tmp_path / "tiny.txt", out=tmp_path, model="ngram", name="tiny", progress=False)
    with pytest.raises(CorpusError, match="too short to hold any validation text"):
        clearhead.compare("tiny", "tiny", out=tmp_path)


def test_too_few_lines_for_two_tokenizers(tmp_path):
    path = tmp_path / "line.txt"
    path.write_text(("rain wind hill the sea " * 40 + "\n") * 20, encoding="utf-8")
    for tokenizer in ("char", "byte"):
        clearhead.train(path, out=tmp_path / "runs", name=tokenizer, model="ngram", tokenizer=tokenizer, progress=False)
    with pytest.raises(ClearheadError, match=r"only 2 lines .* runs of one tokenizer"):
        clearhead.compare("char", "byte", out=tmp_path / "runs")


def test_an_interval_that_touches_0_shows_nothing():
    side = Side(("x",), "gpt", "char", (1.0,), (1.0,))

    def verdict(low: float, high: float) -> str | None:
        return Comparison("text", 1, side, side, Interval((low + high) / 2, low, high), None, 20, ()).better

    assert verdict(-0.2, -0.1) == "A"
    assert verdict(0.1, 0.2) == "B"
    assert verdict(-0.1, 0.2) is verdict(0.0, 0.2) is verdict(-0.2, 0.0) is None
