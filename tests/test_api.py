"""The five lines of Python, and what `import clearhead` costs."""

import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

import clearhead
from clearhead import api
from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.training.job import config_from, new_job

SMALL: dict[str, Any] = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4}
SMALL |= {"max_iters": 20, "eval_iters": 2}
COUNTED = ["uniform", "unigram", "bigram", "ngram"]


@pytest.fixture
def run(poem, tmp_path):
    return clearhead.train(poem, out=tmp_path / "runs", progress=False, **SMALL)


def test_train_generate_ladder_load(run, tmp_path):
    text = run.generate("The wind", max_new_tokens=30)
    assert len(text) == 30
    assert text == run.generate("The wind", max_new_tokens=30), "same seed, same text"
    assert text == "".join(run.stream("The wind", max_new_tokens=30))
    assert text != run.generate("The wind", max_new_tokens=30, seed=2)
    assert [rung.name for rung in run.ladder().rungs] == [*COUNTED, "gpt", "mixture"]
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


def test_a_mixture_is_trained_like_a_gpt_and_fitted_at_the_end(run, poem, tmp_path):
    mixed = clearhead.train(poem, model="mixture", out=tmp_path / "runs", progress=False, **SMALL)
    again = clearhead.load(mixed.path)
    assert again.model.kind == mixed.model.kind == "mixture"
    assert len(mixed.generate("The wind", max_new_tokens=40)) == 40
    assert mixed.generate("The ", max_new_tokens=40) == again.generate("The ", max_new_tokens=40)
    ladder = mixed.ladder()
    assert [rung.name for rung in ladder.rungs] == [*COUNTED, "gpt", "mixture"]
    assert "fitted on dev" in ladder["mixture"].note
    for name in ("gpt", "mixture"):  # the mixture of a GPT's run is fitted when asked for, to the same figures
        assert ladder[name].nats_per_token == pytest.approx(run.ladder()[name].nats_per_token, abs=1e-6)
        assert ladder[name].parameters == run.ladder()[name].parameters
    told = mixed.directory.read_events()
    assert [event["event"] for event in told[-3:]] == ["notice", "saved", "finished"]
    gpt_seconds, mixture_seconds = ladder["gpt"].fit_seconds, ladder["mixture"].fit_seconds
    assert gpt_seconds is not None
    assert mixture_seconds is not None
    assert told[-1]["seconds"] == mixture_seconds > gpt_seconds > 0


def test_a_mixture_is_fitted_by_resume_where_it_is_missing_or_damaged(poem, tmp_path):
    mixed = clearhead.train(poem, model="mixture", out=tmp_path / "runs", progress=False, **SMALL)
    text = mixed.generate("The ", max_new_tokens=40)
    with pytest.raises(CheckpointError, match="is complete"):
        api.resume(mixed.path, progress=False)
    weights = mixed.directory.mixture / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"damaged.*clearhead resume"):
        clearhead.load(mixed.path)
    assert api.resume(mixed.path, progress=False).generate("The ", max_new_tokens=40) == text
    shutil.rmtree(mixed.directory.mixture)
    assert clearhead.load(mixed.path).model.kind == "gpt", "before the end of training there is the GPT alone"
    assert api.resume(mixed.path, progress=False).generate("The ", max_new_tokens=40) == text


def test_an_interrupted_mixture_is_fitted_when_it_is_resumed(poem, tmp_path):
    config = RunConfig(model="mixture").with_settings(SMALL)
    job = new_job(config, [str(poem)], out=tmp_path / "runs")
    assert job.trainer is not None
    for event in job.events():
        if event.step == 7:
            job.trainer.request_stop()
    job.release()
    assert not job.run.mixture.exists()
    assert clearhead.load(job.run.path).step == 7
    whole = clearhead.train(poem, model="mixture", out=tmp_path / "runs", progress=False, **SMALL)
    resumed = api.resume(job.run.path, progress=False)
    assert resumed.generate("The ", max_new_tokens=40) == whole.generate("The ", max_new_tokens=40)


def test_a_mixture_starts_from_a_gpt_and_needs_a_dev_split(run, tmp_path):
    job = new_job(replace(config_from(run.directory), model="mixture"), out=tmp_path / "runs", init_from=run.directory)
    assert job.trainer is not None
    assert job.trainer.model.kind == "gpt"
    tiny = tmp_path / "tiny.txt"
    tiny.write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    with pytest.raises(ConfigError, match="model=mixture is fitted on dev"):
        clearhead.train(tiny, model="mixture", out=tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()
    alone = clearhead.train(tiny, out=tmp_path / "runs", progress=False, **SMALL)
    assert alone.ladder().rungs[-1].name == "gpt", "a ladder without dev ends with the GPT"


def test_a_run_starts_from_the_weights_of_another(run, poem, tmp_path):
    further = clearhead.train(
        poem, out=tmp_path / "runs", init_from=run.path, progress=False, max_iters=5, eval_iters=2, learning_rate=1e-5
    )
    first = next(e for e in further.directory.read_events() if e["event"] == "evaluated")
    last = [e for e in run.directory.read_events() if e["event"] == "evaluated"][-1]
    assert first["dev"] == pytest.approx(last["dev"], abs=1e-6)
    with pytest.raises(ConfigError, match=r"n_layer=3 but the weights of .* have n_layer=1"):
        clearhead.train(poem, out=tmp_path / "runs", init_from=run.path, progress=False, n_layer=3)


def test_weights_of_a_run_that_has_changed_are_not_taken(run, poem, tmp_path):
    changed = shutil.copytree(run.path, tmp_path / "changed")
    (changed / "config.toml").write_text((run.path / "config.toml").read_text().replace("seed = 1337", "seed = 1338"))
    with pytest.raises(CheckpointError, match=r"config.toml has changed since the run was made"):
        clearhead.train(poem, out=tmp_path / "elsewhere", init_from=changed, progress=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_mixture_whose_fit_is_not_told_is_one_line(poem, tmp_path):
    run = clearhead.train(poem, model="mixture", out=tmp_path / "runs", progress=False, **SMALL)
    for said in ([1], {"weight": 0.5}, {**run._state, "weight": "half"}):
        run._state = said  # type: ignore[assignment]
        with pytest.raises(CheckpointError, match="does not say how it was fitted"):
            run.ladder()


def test_weights_from_a_text_that_is_gone_need_a_new_text(poem, tmp_path, monkeypatch):
    import io

    from clearhead.errors import CorpusError

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(poem.read_bytes())))
    piped = clearhead.train("-", out=tmp_path / "runs", progress=False, **SMALL)
    with pytest.raises(CorpusError, match="standard input"):
        clearhead.train(out=tmp_path / "runs", init_from=piped.path, progress=False)
    further = clearhead.train(poem, out=tmp_path / "runs", init_from=piped.path, progress=False, max_iters=2)
    assert further.step == 2


def test_a_ladder_of_runs_and_texts(run, poem, tmp_path):
    ladder = clearhead.ladder(poem, run.path)
    assert {rung.name for rung in ladder.rungs} == {*COUNTED, "gpt", "mixture"}
    assert len(ladder.rungs) == 6, "equal rungs appear once"


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
