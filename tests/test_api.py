"""The five lines of Python, and what `import clearhead` costs."""

import subprocess
import sys
from typing import Any

import pytest

import clearhead
from clearhead.errors import CheckpointError, ConfigError

SMALL: dict[str, Any] = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4}
SMALL |= {"max_iters": 20, "eval_iters": 2}


@pytest.fixture
def run(poem, tmp_path):
    return clearhead.train(poem, out=tmp_path / "runs", progress=False, **SMALL)


def test_train_generate_ladder_load(run, tmp_path):
    text = run.generate("The wind", max_new_tokens=30)
    assert len(text) == 30
    assert text == run.generate("The wind", max_new_tokens=30), "same seed, same text"
    assert text == "".join(run.stream("The wind", max_new_tokens=30))
    assert text != run.generate("The wind", max_new_tokens=30, seed=2)
    assert [rung.name for rung in run.ladder().rungs] == ["uniform", "unigram", "bigram", "ngram", "gpt"]
    again = clearhead.load(run.path)
    assert again.generate("The wind", max_new_tokens=30) == text
    assert clearhead.load(out=tmp_path / "runs").path == run.path
    assert again.ladder()["gpt"].nats_per_token == pytest.approx(run.ladder()["gpt"].nats_per_token)


def test_samples_are_the_same_alone_and_together(run):
    together = run.samples("The ", num_samples=3, max_new_tokens=20)
    assert len(set(together)) == 3
    assert together == ["".join(run.stream("The ", row=row, max_new_tokens=20)) for row in range(3)]


@pytest.mark.parametrize("model", ["bigram", "ngram"])
def test_every_rung_trains_generates_and_is_judged(poem, tmp_path, model):
    settings: dict[str, Any] = {"max_iters": 50, "eval_iters": 2} if model == "bigram" else {}
    run = clearhead.train(poem, model=model, out=tmp_path / "runs", progress=False, **settings)
    assert len(run.generate("The ", max_new_tokens=25)) == 25
    rungs = run.ladder().rungs
    assert rungs[-1].run == run.path.name
    assert rungs[-1].name == model
    if model == "ngram":
        assert rungs[-1].nats_per_token == pytest.approx(rungs[-2].nats_per_token)


def test_a_run_starts_from_the_weights_of_another(run, poem, tmp_path):
    further = clearhead.train(
        poem, out=tmp_path / "runs", init_from=run.path, progress=False, max_iters=5, eval_iters=2, learning_rate=1e-5
    )
    first = next(e for e in further.directory.read_events() if e["event"] == "evaluated")
    last = [e for e in run.directory.read_events() if e["event"] == "evaluated"][-1]
    assert first["dev"] == pytest.approx(last["dev"], abs=1e-6)
    with pytest.raises(ConfigError, match=r"n_layer=3 but the weights of .* have n_layer=1"):
        clearhead.train(poem, out=tmp_path / "runs", init_from=run.path, progress=False, n_layer=3)


def test_a_ladder_of_runs_and_texts(run, poem, tmp_path):
    ladder = clearhead.ladder(poem, run.path)
    assert {rung.name for rung in ladder.rungs} == {"uniform", "unigram", "bigram", "ngram", "gpt"}
    assert len(ladder.rungs) == 5, "equal rungs appear once"


def test_wrong_input_is_said_plainly(poem, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'max_iters'"):
        clearhead.train(poem, out=tmp_path, max_iter=3)
    with pytest.raises(CheckpointError, match="no run"):
        clearhead.load(out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_importing_needs_no_torch():
    code = "import sys, clearhead; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_public_names_are_there():
    assert set(clearhead.__all__) <= set(dir(clearhead))
    for name in clearhead.__all__:
        assert getattr(clearhead, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        clearhead.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_samples_of_names_are_single_names(names, tmp_path):
    run = clearhead.train(names, lines=True, model="ngram", out=tmp_path / "runs", progress=False)
    samples = run.samples(num_samples=50, max_new_tokens=40)
    assert all(sample.isalpha() and sample.islower() and len(sample) < 25 for sample in samples)
    assert len(set(samples)) > 30
    assert run.generate("isabel", seed=2).isalpha() or run.generate("isabel", seed=2) == ""


def test_a_gpt_ends_a_document_where_documents_end(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"{a}{b}{a}" for a in "bcdfg" for b in "aeiou" for _ in range(10)), encoding="utf-8")
    settings = {**SMALL, "max_iters": 300, "learning_rate": 1e-2, "block_size": 8, "batch_size": 16}
    run = clearhead.train(path, lines=True, out=tmp_path / "runs", progress=False, **settings)
    samples = run.samples(num_samples=20, max_new_tokens=50)
    assert sum(len(sample) == 3 for sample in samples) >= 15
