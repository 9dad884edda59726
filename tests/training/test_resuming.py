"""Going on: to the same end, to a later one, or not at all; and what a folder tells after a resume."""

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from clearhead.cli.main import main
from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.files import sha256_file, write_atomic
from clearhead.runs import directory
from clearhead.runs.checkpoint import MODEL, OPTIMIZER, Checkpoint, load_checkpoint, load_mixture
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from clearhead.runtime import Runtime
from clearhead.training import job as job_module
from clearhead.training.events import Evaluated, Event, Finished, Saved, Stepped
from clearhead.training.job import Job, new_job, resume_job
from clearhead.training.resuming import extend
from clearhead.training.running import run_job
from clearhead.training.sinks import EventFile

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


class Killed(BaseException):
    """As SIGKILL: nothing after it is done."""


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch):
    monkeypatch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)


@pytest.fixture
def make(poem, tmp_path):
    def job(name: str = "run", model: str = "gpt", init_from: RunDirectory | None = None, **settings: object) -> Job:
        preset = RunConfig.from_preset("modern", model)
        config = (job_module.config_from(init_from) if init_from else preset).with_settings({**SMALL, **settings})
        return new_job(replace(config, model=model), [str(poem)], out=tmp_path / "runs", name=name, init_from=init_from)

    return job


def leave_when(job: Job, enough: Callable[[Event], bool]) -> None:
    """Train until an event, then leave as a kill does, but for the lock."""
    told = EventFile(job.run.events_file)
    for event in job.events():
        told.handle(event)
        if enough(event):
            break
    told.close()
    job.release()


def at(step: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Stepped) and event.step == step


def ending(run: RunDirectory) -> dict[str, object]:
    """All that must not depend on the way there; a line about an extension is told by who extends."""
    last, best = run.steps()[-1], run.pointer("best")
    return {
        "tensors": [sha256_file(run.checkpoint(last) / name) for name in (MODEL, OPTIMIZER)],
        "steps": run.steps(),
        "pointers": (run.pointer("latest"), best),
        "best": None if best is None else sha256_file(run.checkpoint(best) / MODEL),
        "mixture": sha256_file(run.mixture / MODEL) if run.mixture.exists() else None,
        "told": [
            {k: v for k, v in event.items() if k not in ("seconds", "run")}
            for event in run.read_events()
            if "steps instead of" not in event.get("message", "")
        ],
    }


def rates(run: RunDirectory) -> dict[int, float]:
    return {e["step"]: e["learning_rate"] for e in run.read_events() if e["event"] == "stepped"}


# Going on to the same end


@pytest.mark.parametrize("model", ["gpt", "bigram", "mixture"])
def test_a_run_killed_before_its_first_checkpoint_begins_again(make, model):
    whole, cut = make("whole", model), make("cut", model)
    run_job(whole)
    leave_when(cut, at(1))
    assert cut.run.steps() == []
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)
    assert verify_run(cut.run).faults == ()


def test_a_run_killed_before_its_first_event_begins_again(make):
    whole, cut = make("whole"), make("cut")
    run_job(whole)
    cut.release()
    assert not cut.run.events_file.exists()
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)


def test_a_run_that_begins_again_has_the_threads_it_began_with(make, monkeypatch):
    cut = make("cut")
    leave_when(cut, at(1))
    began, asked = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: began + 3)
    monkeypatch.setattr(Runtime, "use_threads", lambda _, count: asked.append(count))
    resume_job(cut.run).release()
    assert asked == [began]


def test_a_run_from_other_weights_killed_before_its_first_checkpoint_begins_again(make):
    source = make("source")
    run_job(source)
    whole, cut = (make(name, init_from=source.run, seed=7) for name in ("whole", "cut"))
    run_job(whole)
    leave_when(cut, at(1))
    assert cut.run.steps() == [0], "weights that nothing could make again"
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)


@pytest.mark.parametrize("model", ["gpt", "mixture"])
@pytest.mark.parametrize("last", ["the last step", "the last evaluation", "the last save", "all but the end"])
def test_a_run_killed_near_its_end_tells_its_end(make, model, last):
    whole, cut = make("whole", model), make("cut", model)
    run_job(whole)
    leave_when(
        cut,
        {
            "the last step": at(8),
            "the last evaluation": lambda event: isinstance(event, Evaluated) and event.step == 8,
            "the last save": lambda event: isinstance(event, Saved) and event.step == 8,
            "all but the end": lambda event: isinstance(event, Finished),
        }[last],
    )
    if last == "all but the end":
        events = cut.run.events_file.read_text(encoding="utf-8").splitlines(keepends=True)
        cut.run.events_file.write_text("".join(events[:-1]), encoding="utf-8")
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)
    assert verify_run(cut.run).sealed


@pytest.mark.parametrize("step", range(1, 9))
def test_an_interruption_in_any_step_changes_nothing(make, step):
    """In the last one, too: the evaluation that is still to come is made by the resume."""

    class Interrupter:
        def handle(self, event: Event) -> None:
            if isinstance(event, Stepped) and event.step == step:
                signal.raise_signal(signal.SIGINT)

        def close(self) -> None: ...

    whole, cut = make("whole"), make("cut")
    run_job(whole)
    finished = run_job(cut, [Interrupter()])
    assert (finished.reason, finished.step, finished.signal) == ("interrupted", step, "SIGINT")
    assert run_job(resume_job(cut.run)).reason == "done"
    assert {**ending(cut.run), "steps": None} == {**ending(whole.run), "steps": None}


def test_a_complete_run_is_refused_with_the_way_on(make):
    job = make()
    run_job(job)
    before = job.run.manifest_file.read_bytes(), job.run.events_file.read_bytes()
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"complete at step 8; to go on: clearhead resume .*--max_iters 16"):
            resume_job(job.run)
    assert (job.run.manifest_file.read_bytes(), job.run.events_file.read_bytes()) == before


def test_a_run_that_patience_ended_is_complete(make):
    job = make(max_iters=200, eval_interval=2, patience=2, learning_rate=1e-9, min_lr=0.0, muon_learning_rate=1e-9)
    finished = run_job(job)
    assert finished.reason == "patience"
    with pytest.raises(CheckpointError, match=rf"complete at step {finished.step}; .*--max_iters 400"):
        resume_job(job.run)


def test_a_complete_run_that_could_not_be_sealed_is_sealed(make, monkeypatch):
    whole, job = make("whole"), make()
    run_job(whole)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "seal", lambda _: None)
        run_job(job)
    assert not verify_run(job.run).sealed
    run_job(resume_job(job.run))
    assert verify_run(job.run).sealed
    assert ending(job.run) == ending(whole.run)


def test_a_checkpoint_too_many_is_pruned(make, monkeypatch):
    whole, job = make("whole"), make()
    run_job(whole)
    with monkeypatch.context() as patch:
        patch.setattr("clearhead.runs.writer.prune", lambda *_: None)
        leave_when(job, lambda event: isinstance(event, Saved) and event.step == 8)
    assert len(job.run.steps()) > 3
    run_job(resume_job(job.run))
    assert ending(job.run) == ending(whole.run)


def test_events_after_the_first_that_is_taken_back_are_taken_back_too(make):
    """A line told after the checkpoint has its step: only what comes before it tells it apart from an older one."""
    job = make()
    leave_when(job, at(5))
    later = {"event": "notice", "step": 4, "message": "told after step 5"}
    with job.run.events_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(later) + "\n")
    earlier = job.run.read_events()[:-1]
    resume_job(job.run).release()
    kept = job.run.read_events()
    assert later not in kept
    assert kept == earlier[: len(kept)]
    assert [event["step"] for event in kept if event["event"] == "stepped"] == [1, 2, 3, 4]


# Going on to a later end


def test_a_finished_run_is_extended(make):
    job = make()
    run_job(job)
    before = rates(job.run)
    resumed = resume_job(job.run, 20)
    assert [notice for notice in resumed.notices if "steps instead of" in notice] == [
        "20 steps instead of 8: the rate begins again at its peak and falls to the end, "
        "so this is not the run that as many steps from the start would have been"
    ]
    assert run_job(resumed).step == 20
    after = rates(job.run)
    assert list(after) == list(range(1, 21))
    assert {step: after[step] for step in before} == before
    peak = job.run.read_config().train.learning_rate
    assert before[8] < peak / 10
    assert after[9] == peak
    assert after[20] == pytest.approx(job.run.read_config().train.min_lr)
    assert all(after[step] > after[step + 1] for step in range(9, 20))
    assert [e["reason"] for e in job.run.read_events() if e["event"] == "finished"] == ["done"]
    assert job.run.read_config().train.max_iters == 20
    assert verify_run(job.run).faults == ()


def test_an_unfinished_run_is_extended_from_where_it_stands(make):
    job = make()
    leave_when(job, at(5))
    assert run_job(resume_job(job.run, 12)).step == 12
    after = rates(job.run)
    assert list(after) == list(range(1, 13))
    assert after[5] == job.run.read_config().train.learning_rate


def test_the_end_that_a_run_has_is_no_extension(make):
    whole, job = make("whole"), make()
    run_job(whole)
    leave_when(job, at(5))
    resumed = resume_job(job.run, 8)
    assert resumed.notices == []
    run_job(resumed)
    assert ending(job.run) == ending(whole.run)


STUBBORN = {
    "max_iters": 40,
    "eval_interval": 2,
    "patience": 2,
    "learning_rate": 1e-9,
    "min_lr": 0.0,
    "muon_learning_rate": 1e-9,
    "warmup_iters": 0,
}
"""A run that patience ends, for it learns nothing."""


@pytest.mark.parametrize("max_iters", [40, 60])
def test_a_run_that_patience_ended_is_extended_with_new_patience(make, max_iters):
    job = make(**STUBBORN)
    stood = run_job(job).step
    assert stood < 40
    finished = run_job(resume_job(job.run, max_iters))
    assert finished.reason == "patience"
    assert finished.step == stood + 4, "two more evaluations without gain, not none"


@pytest.mark.parametrize("max_iters", [-1, 0, 1, 7, 8])
def test_an_end_that_lies_behind_is_refused(make, max_iters):
    job = make()
    run_job(job)
    before = job.run.config_file.read_bytes(), job.run.manifest_file.read_bytes(), job.run.events_file.read_bytes()
    with pytest.raises(ConfigError, match=rf"max_iters={max_iters} is not beyond step 8, where the run stands"):
        resume_job(job.run, max_iters)
    after = job.run.config_file.read_bytes(), job.run.manifest_file.read_bytes(), job.run.events_file.read_bytes()
    assert after == before
    assert verify_run(job.run).sealed


@pytest.mark.parametrize(
    ("step", "max_iters", "dev_iters"),
    [(8, 16, 12), (6, 16, 12), (5, 16, 12), (4, 16, 8), (2, 16, 8), (2, 12, 6)],
)
def test_the_stretch_of_dev_grows_with_the_run_or_goes_on(make, step, max_iters, dev_iters):
    """Of 8 steps the last 4 learn from dev: begun, it goes on to the new end; else it keeps its share."""
    config = RunConfig().with_settings({**SMALL, "dev_iters": 4})
    model = make().trainer.model
    extended, _ = extend(config, Checkpoint(step, model, {}, {}), max_iters)
    assert (extended.train.max_iters, extended.train.dev_iters) == (max_iters, dev_iters)
    assert extended.train.decay_iters == max_iters - step


def test_a_run_that_learns_from_dev_is_extended(make):
    job = make(dev_iters=4)
    run_job(job)
    resumed = resume_job(job.run, 12)
    assert resumed.trainer is not None
    assert resumed.trainer.feed.dev_begins == 4, "what has learned from dev is not judged by it again"
    run_job(resumed)
    devs = {event["step"]: event["dev"] for event in job.run.read_events() if event["event"] == "evaluated"}
    assert {step for step, dev in devs.items() if dev is not None} == {0, 3, 4}


def test_a_stale_mixture_is_dropped_and_fitted_anew(make):
    job = make(model="mixture")
    run_job(job)
    stale = sha256_file(job.run.mixture / MODEL)
    resumed = resume_job(job.run, 16)
    assert load_mixture(job.run) is None
    run_job(resumed)
    mixture = load_mixture(job.run)
    assert mixture is not None
    assert sha256_file(job.run.mixture / MODEL) != stale
    assert mixture.step > 8 or job.run.pointer("best") == mixture.step


def extended_and_killed(job: Job, monkeypatch, writes: int, max_iters: int = 16) -> None:
    """An extension that is killed when it has written so many small files, or all that it writes."""
    made = []

    def counted(*given) -> None:
        if len(made) == writes:
            raise Killed
        made.append(given)
        write_atomic(*given)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "write_atomic", counted)
        patch.setattr("clearhead.training.resuming.write_atomic", counted)
        with suppress(Killed):
            resume_job(job.run, max_iters).release()
    assert len(made) == writes


@pytest.mark.parametrize("writes", range(7))
@pytest.mark.parametrize("model", ["gpt", "mixture"])
def test_an_extension_killed_while_it_is_noted_goes_on(make, monkeypatch, model, writes):
    whole, job = make("whole", model), make("job", model)
    run_job(whole)
    run_job(resume_job(whole.run, 16))
    run_job(job)
    extended_and_killed(job, monkeypatch, writes)
    assert verify_run(job.run).faults == (), "killed anywhere, it still is what was written"
    noted = job.run.read_config().train.max_iters == 16
    assert noted == (writes > 2), "unsealed, the manifest of two, the configuration"
    run_job(resume_job(job.run, None if noted else 16))
    assert ending(job.run) == ending(whole.run)


@pytest.mark.parametrize("first", [2, 3])
@pytest.mark.parametrize("second", [1, 2])
def test_an_extension_killed_twice_while_it_is_noted_goes_on(make, monkeypatch, first, second):
    """The manifest knows two configurations then; a third must not make it forget the one that lies there."""
    job = make()
    run_job(job)
    extended_and_killed(job, monkeypatch, first)
    extended_and_killed(job, monkeypatch, second, max_iters=18)
    assert verify_run(job.run).faults == ()
    assert run_job(resume_job(job.run, 20)).step == 20
    assert verify_run(job.run).faults == ()


@pytest.mark.parametrize("step", [None, 9, 11])
@pytest.mark.parametrize("again", [None, 16])
def test_an_extension_killed_before_or_after_its_first_checkpoint_goes_on(make, step, again):
    whole, job = make("whole"), make("job")
    run_job(whole)
    run_job(resume_job(whole.run, 16))
    run_job(job)
    resumed = resume_job(job.run, 16)
    if step:
        leave_when(resumed, at(step))
    resumed.release()
    assert run_job(resume_job(job.run, again)).step == 16
    assert ending(job.run) == ending(whole.run)


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_new_patience_survives_a_kill(make, more):
    """The count of a checkpoint from before the extension must not end the run that was extended."""
    whole, job = make("whole", **STUBBORN), make("job", **STUBBORN)
    for one in (whole, job):
        stood = run_job(one).step
    run_job(resume_job(whole.run, 60))
    resumed = resume_job(job.run, 60)
    if more:
        leave_when(resumed, at(stood + more))
    resumed.release()
    run_job(resume_job(job.run))
    assert ending(job.run) == ending(whole.run)


def test_patience_counts_anew_where_the_rate_begins_to_fall(make):
    settings = {**STUBBORN, "decay_iters": 36}
    whole, cut = make("whole", **settings), make("cut", **settings)
    assert run_job(whole).step == 8, "not at 4, where the fall begins"
    leave_when(cut, at(5))
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)


# Not at all


FLAGS = ("n_embd 64", "batch_size 8", "learning_rate 0.1", "seed 7", "dropout 0.5", "tokenizer byte", "model bigram")


@pytest.mark.parametrize("flag", FLAGS)
def test_a_setting_that_cannot_change_is_refused_by_name(make, capsys, flag):
    job = make()
    leave_when(job, at(5))
    before = job.run.config_file.read_bytes(), job.run.events_file.read_bytes()
    name, value = flag.split()
    assert main(["resume", str(job.run.path), f"--{name}", value]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"clearhead: --{name} cannot change while a run goes on")
    assert "--init_from" in said
    assert said.count("\n") == 1
    assert (job.run.config_file.read_bytes(), job.run.events_file.read_bytes()) == before


def test_a_checkpoint_without_moments_is_no_place_to_go_on_from(make):
    job = make()
    run_job(job)
    newest = job.run.checkpoint(8)
    checkpoint = load_checkpoint(job.run, 8)
    for step in job.run.steps():
        directory_of = job.run.checkpoint(step)
        directory_of.rename(directory_of.with_name(f"old-{step}"))
    job_module.save_checkpoint(job.run, 8, checkpoint.model, state=checkpoint.state)
    assert newest.is_dir()
    with pytest.raises(CheckpointError, match=r"has no optimizer state.*train --init_from"):
        resume_job(job.run, 16)
    with pytest.raises(CheckpointError, match="no optimizer state"):
        resume_job(job.run, 16)  # the lock was given back


def test_a_counted_model_is_complete(poem, tmp_path):
    job = new_job(RunConfig(model="ngram"), [str(poem)], out=tmp_path / "runs")
    run_job(job)
    with pytest.raises(CheckpointError, match="complete, there is nothing to resume"):
        resume_job(job.run)
