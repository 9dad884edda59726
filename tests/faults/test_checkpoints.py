"""Broken checkpoints: passed over by name, kept aside, and the run ends as if they had been whole."""

import json
import shutil
from pathlib import Path

import pytest
from sabotage import TEXT, call, refusal
from safetensors.torch import load_file

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.errors import CheckpointError
from clearhead.files import sha256_file
from clearhead.runs.checkpoint import FILES, MANIFEST, MODEL, OPTIMIZER, STATE, load_mixture, newest_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from clearhead.training.job import new_job, resume_job
from clearhead.training.running import run_job

SMALL = {
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "max_iters": 8,
    "eval_interval": 3,
    "eval_iters": 1,
    "save_interval": 2,
    "warmup_iters": 2,
    "dropout": 0.1,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run by model, cut short at step 7 of 8, and what it comes to; made once."""
    folder, known = tmp_path_factory.mktemp("made"), {}
    (folder / "text.txt").write_text(TEXT * 20, encoding="utf-8")

    def of(model: str) -> tuple[RunDirectory, dict[str, object]]:
        if model not in known:
            config = RunConfig.from_preset("modern", model).with_settings({**SMALL, "model": model})
            jobs = [
                new_job(config, [str(folder / "text.txt")], out=folder / kind, name=f"run-{model}")
                for kind in ("whole", "cut")
            ]
            run_job(jobs[0])
            cut_short(jobs[1], 7)
            known[model] = jobs[1].run, ending(jobs[0].run)
        return known[model]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)
        yield of


@pytest.fixture
def cut(made, tmp_path):
    """A copy of it to break."""

    def of(model: str = "gpt") -> tuple[RunDirectory, dict[str, object]]:
        run, wanted = made(model)
        shutil.copytree(run.path, tmp_path / "runs" / run.name)
        return RunDirectory(tmp_path / "runs" / run.name), wanted

    return of


def cut_short(job, step: int) -> None:
    """Train past a step and leave, as a kill would but for the lock."""
    from clearhead.training.sinks import EventFile

    told = EventFile(job.run.events_file)
    for event in job.events():
        told.handle(event)
        if event.step == step:
            break
    told.close()
    job.release()


def ending(run: RunDirectory) -> dict[str, object]:
    last = run.checkpoint(run.steps()[-1])
    best = run.pointer("best")
    assert best is not None
    return {
        "tensors": [sha256_file(last / name) for name in (MODEL, OPTIMIZER)],
        "best": (best, sha256_file(run.checkpoint(best) / MODEL)),
        "mixture": sha256_file(run.mixture / MODEL) if run.mixture.exists() else None,
        "told": [
            {k: v for k, v in event.items() if k != "seconds"}
            for event in run.read_events()
            if "passed over" not in event.get("message", "")
        ],
    }


def truncate(file: Path, sixteenth: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * sixteenth // 16])


def assert_ends_well(run: RunDirectory, wanted: dict[str, object], broken: str) -> None:
    """Resume: the broken checkpoint is named once and kept aside, an older one is gone on from."""
    step = run.steps()[-1]
    bytes_before = {file.name: file.read_bytes() for file in run.checkpoint(step).iterdir()}
    job = resume_job(run)
    assert job.trainer is not None
    assert job.trainer.progress.step < step
    passed_over = [notice for notice in job.notices if "passed over for an older one" in notice]
    assert len(passed_over) == 1
    assert f"step-{step}" in passed_over[0]
    assert broken in passed_over[0] or "cannot be read" in passed_over[0]
    assert "\n" not in passed_over[0]
    aside = run.checkpoints / f"step-{step}.broken"
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == bytes_before
    assert run_job(job).reason == "done"
    assert ending(run) == wanted
    assert verify_run(run).faults == ()


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("sixteenth", [0, 7, pytest.param(15, marks=pytest.mark.slow)])
def test_a_truncated_checkpoint_changes_nothing(cut, file, sixteenth):
    run, wanted = cut()
    truncate(run.checkpoint(run.steps()[-1]) / file, sixteenth)
    assert_ends_well(run, wanted, file)


@pytest.mark.slow
@pytest.mark.parametrize("sixteenth", range(16))
@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("model", ["gpt", "bigram", "mixture"])
def test_a_checkpoint_truncated_at_every_sixteenth_changes_nothing(cut, model, file, sixteenth):
    run, wanted = cut(model)
    truncate(run.checkpoint(run.steps()[-1]) / file, sixteenth)
    assert_ends_well(run, wanted, file)


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
def test_a_checkpoint_without_one_of_its_files_changes_nothing(cut, file):
    run, wanted = cut()
    (run.checkpoint(run.steps()[-1]) / file).unlink()
    assert_ends_well(run, wanted, file)


def test_a_checkpoint_that_is_a_file_is_passed_over(cut):
    run, wanted = cut()
    step = run.steps()[-1]
    shutil.rmtree(run.checkpoint(step))
    run.checkpoint(step).write_bytes(b"no folder")
    job = resume_job(run)
    assert len(job.notices) == 1
    assert run_job(job).reason == "done"
    assert ending(run) == wanted


def test_the_same_checkpoint_may_break_twice(cut):
    run, wanted = cut()
    step = run.steps()[-1]
    truncate(run.checkpoint(step) / MODEL, 3)
    cut_short(resume_job(run), 7)
    truncate(run.checkpoint(step) / MODEL, 9)
    assert run_job(resume_job(run)).reason == "done"
    assert (run.checkpoints / f"step-{step}.broken").is_dir()
    assert (run.checkpoints / f"step-{step}.broken-2").is_dir()
    assert ending(run) == wanted


def test_a_best_checkpoint_that_is_gone_is_pointed_to_no_more(cut):
    run, _ = cut()
    job = resume_job(run)
    assert job.trainer is not None
    older = job.trainer.progress
    job.release()
    assert older.best_step is not None
    state = json.loads((run.checkpoint(older.step) / STATE).read_text())
    state["trainer"]["best_step"] = 1  # as where a newer best had taken its place before that one broke
    (run.checkpoint(older.step) / STATE).write_text(json.dumps(state))
    vouch(run.checkpoint(older.step))
    job = resume_job(run)
    assert run.pointer("best") is None
    assert job.trainer is not None
    job.trainer.progress.best_dev = -1.0  # nothing is better: the pointer must not come back
    run_job(job)
    assert run.pointer("best") is None
    assert verify_run(run).faults == ()


@pytest.mark.parametrize("how", ["truncated", "deleted files", "flipped"])
def test_no_whole_checkpoint_is_one_line(cut, how):
    run, _ = cut()
    for step in run.steps():
        file = run.checkpoint(step) / MODEL
        if how == "truncated":
            truncate(file, 8)
        elif how == "deleted files":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
    steps, before = run.steps(), run.events_file.read_bytes()
    said = refusal(call("resume", run.path))
    assert "has no checkpoint to load" in said
    assert MODEL in said or "cannot be read" in said
    assert "train it again" in said
    assert (run.steps(), run.events_file.read_bytes()) == (steps, before), "nothing was moved or taken back"


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("sixteenth", [0, 5, 11])
def test_a_truncated_mixture_is_named_and_fitted_anew(cut, file, sixteenth):
    run, wanted = cut("mixture")
    run_job(resume_job(run))
    assert ending(run) == wanted
    truncate(run.mixture / file, sixteenth)
    with pytest.raises(CheckpointError, match=r"mixture.*fit it again with: clearhead resume"):
        load_mixture(run)
    assert "fit it again" in refusal(call("generate", run.path, "--max_new_tokens", "3"))
    assert run_job(resume_job(run)).reason == "done"
    assert ending(run) == wanted


def vouch(folder: Path) -> None:
    """Make a checkpoint's manifest agree with its files, as somebody who edits them on purpose can."""
    digests = {name: sha256_file(folder / name) for name in FILES}
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


FOREIGN = {
    "n_embd": ({"n_embd": 32}, "n_embd=32"),
    "layers": ({"n_layer": 2}, "n_layer=2"),
    "context": ({"block_size": 8}, "block_size=8"),
    "tokens": ({"tokenizer": "byte"}, "vocab_size=256"),
    "positions": ({"positions": "none"}, "positions='none'"),
    "model": ({"model": "bigram"}, "is a bigram"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_checkpoint_of_another_run_is_named(cut, tmp_path, what):
    run, _ = cut()
    settings, named = FOREIGN[what]
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 20, encoding="utf-8")
    preset, model = str(settings.get("preset", "modern")), str(settings.get("model", "gpt"))
    config = RunConfig.from_preset(preset, model).with_settings({**SMALL, **settings, "max_iters": 2})
    other = new_job(config, [str(text)], out=tmp_path / "other")
    run_job(other)
    newest = run.checkpoint(run.steps()[-1])
    shutil.rmtree(newest)
    shutil.copytree(other.run.checkpoint(2), newest)
    state = json.loads((newest / STATE).read_text())
    state["step"] = run.steps()[-1]
    (newest / STATE).write_text(json.dumps(state))
    vouch(newest)
    for words in (("resume", run.path), ("generate", run.path, "--max_new_tokens", "3")):
        run.point("best", run.steps()[-1])
        said = refusal(call(*words))
        assert named in said, said
        assert "another run" in said


def test_a_checkpoint_under_another_number_is_not_taken_for_it(cut):
    run, wanted = cut()
    older, newest = run.steps()[-2:]
    shutil.rmtree(run.checkpoint(newest))
    shutil.copytree(run.checkpoint(older), run.checkpoint(newest))
    assert newest_checkpoint(run)[0].step == older
    assert run_job(resume_job(run)).reason == "done"
    assert ending(run) == wanted


def test_all_kinds_of_models_are_here():
    assert set(registry.names("models")) == {"bigram", "gpt", "mixture", "ngram"}


def test_moments_are_part_of_what_is_compared(made):
    run, _ = made("gpt")
    assert load_file(run.checkpoint(run.steps()[-1]) / OPTIMIZER)
