"""kill -9 at any moment, again and again: a resumed run ends with the bits of a run that nobody killed."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hooks import REPLAN_AT, REST
from killing import FLAGS, Case, Kill, Trial, cases

from clearhead import registry
from clearhead.models.ngram import NgramLanguageModel
from clearhead.runs.checkpoint import load_checkpoint
from conftest import POEM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a process that knows torch")

SHORT = {"max_iters": 6, "save_interval": 2, "eval_interval": 3}
"""A run with every kind of write, of each as few as can be."""
QUICK_STRIDE = 23
"""Of the calls of a run, every one of this many is tried by the quick tests; the slow ones try all."""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("killed")
    text = folder / "poem.txt"
    text.write_text(POEM * 29, encoding="utf-8")
    with Trial(folder, text, seed=4) as made:
        yield made


def short(model: str, optimizer: str = "muon") -> Case:
    return Case(f"short-{model}", {"model": model, "optimizer": optimizer, **SHORT})


def planned(times: str) -> Case:
    return Case(f"planned-{times}", {"model": "mixture", "time": "60s", **SHORT}, hook=f"hooks:plan_{times}")


def killed_at_every_call(trial: Trial, case: Case, first: int = 1, stride: int = 1) -> None:
    """Kill a run at each of its calls that write, one a run, and finish it each time."""
    count = trial.calls(trial.train(case, f"{case.name}-counted"), case.hook)
    for at in range(first, count + 1, stride):
        kills = trial.counts["kills"]
        trial.finish(case, f"{case.name}-at-{at}", [Kill(at=at)])
        assert trial.counts["kills"] == kills + 1


def killed_while_resuming(trial: Trial, case: Case, first: int = 1, stride: int = 1) -> None:
    """Leave a run half done with events that have to be taken back, and kill its resume at each call that writes."""
    left = trial.run(f"{case.name}-left")
    at = 0
    while not (left.steps() and left.read_events()[-1]["step"] > left.steps()[-1]):
        shutil.rmtree(left.path, ignore_errors=True)
        at += 10
        trial.live(case, left.name, Kill(at=at))
    shutil.copytree(left.path, trial.run("counted").path)
    count = trial.calls(["resume", str(trial.run("counted").path)])
    for at in range(first, count + 1, stride):
        name = f"{case.name}-resumed-{at}"
        shutil.copytree(left.path, trial.run(name).path)
        trial.finish(case, name, [Kill(at=at)])


def test_the_cases_are_all_models_and_optimizers_that_are_registered():
    known = {(case.flags.get("model"), case.flags["optimizer"]) for case in cases() if "model" in case.flags}
    assert {model for model, _ in known} == {*registry.names("models")} - {"ngram"}
    assert {optimizer for _, optimizer in known} == {*registry.names("optimizers")}


def test_the_whole_runs_have_everything_on(trial):
    told = trial.whole(Case("gpt-muon", {"model": "gpt", "optimizer": "muon"})).found["events"]
    kinds = [event["event"] for event in told]
    assert kinds.count("stepped") == FLAGS["max_iters"]
    assert {"started", "evaluated", "sampled", "saved", "finished"} <= set(kinds)
    ended = trial.whole(next(case for case in cases() if case.name == "patience")).found
    assert ended["events"][-1]["reason"] == "patience"
    assert ended["events"][-1]["step"] < FLAGS["max_iters"]
    assert "mixture/model.safetensors" in ended


def test_a_few_random_moments(trial):
    known = [case for case in cases() if case.name in ("gpt-muon", "mixture-adamw")]
    for number in range(4):
        trial.survive(known[number % 2])


def test_some_of_the_calls_that_write(trial):
    killed_at_every_call(trial, short("mixture"), first=60, stride=QUICK_STRIDE)


def test_a_planned_run_goes_on_with_its_second_plan(trial):
    case = planned("anew")
    whole = trial.whole(case).found
    assert [event["max_iters"] for event in whole["events"] if event["event"] == "replanned"] == [REPLAN_AT + REST]
    assert whole["latest"] == REPLAN_AT + REST
    run = trial.run("replanned")
    trial.live(case, run.name, Kill(told="replanned"))
    assert all(step < REPLAN_AT for step in run.steps()), "it was killed right after it had been planned anew"
    trial.finish(case, run.name)


def test_a_resumed_run_computes_in_as_many_threads_as_before(trial):
    case = replace(short("gpt"), name="threads", hook="hooks:two_threads")
    assert trial.whole(case).found["step-6/state.json"]["trainer"]["threads"] == 2
    trial.finish(case, "threads-killed", [Kill(at=70)])  # goes on in a process of one thread


@pytest.mark.slow
def test_a_hundred_random_moments(trial):
    known, before = cases(), trial.counts["kills"]
    for number in range(100):
        trial.survive(known[number % len(known)])
    print(f"{trial.counts['kills'] - before} kills: {dict(trial.counts)}")  # noqa: T201
    assert trial.counts["kills"] - before >= 100


@pytest.mark.slow
def test_every_call_that_writes(trial):
    killed_at_every_call(trial, short("mixture"))


@pytest.mark.slow
def test_every_call_of_a_planned_run_that_writes(trial):
    anew, once = planned("anew"), planned("once")
    for at in range(1, trial.calls(trial.train(anew, "counted-plan"), anew.hook) + 1):
        run = trial.run(f"planned-at-{at}")
        trial.live(anew, run.name, Kill(at=at))
        if run.read_events():  # before, its notice was not told, and the words of a plan are stored nowhere else
            changed = run.read_config().train.max_iters == REPLAN_AT + REST
            trial.finish(anew if changed else once, run.name)


@pytest.mark.slow
def test_every_call_of_a_resume_that_writes(trial):
    killed_while_resuming(trial, short("mixture"))


@pytest.mark.slow
def test_a_counted_run_is_whole_or_said_not_to_be(trial):
    case = Case("counted", {"model": "ngram"})
    assert registry.resolve("models", "ngram") is NgramLanguageModel
    for at in range(1, trial.calls(trial.train(case, "counted-whole")) + 1):
        run = trial.run(f"counted-at-{at}")
        trial.live(case, run.name, Kill(at=at))
        if not run.path.exists():
            continue
        said = trial.forker.run(["resume", str(run.path)])
        assert said.code == 2, said.told
        if run.steps():
            assert load_checkpoint(run, 0).model.kind == "ngram"
            assert "is complete" in said.told
        else:
            assert "train it again" in said.told
