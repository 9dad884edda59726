"""A time becomes explicit numbers: what was given wins, the text bounds the context, and a rerun needs no clock."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from clearhead.config import RunConfig, TrainConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.fields import load_config
from clearhead.optim.schedules import schedule
from clearhead.runs import directory
from clearhead.training import planner
from clearhead.training.budget import Budget, choose_budget, parse_time
from clearhead.training.events import Finished, Notice, Replanned, Stepped
from clearhead.training.expectation import dropout_for, expect
from clearhead.training.job import Job, config_from, new_job, resume_job
from clearhead.training.pace import Pace
from clearhead.training.planner import HEAD_SIZE, SHAPES, Planner
from clearhead.training.running import run_job
from clearhead.training.trainer import Trainer

TINY = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4, "eval_iters": 2, "device": "cpu"}


def planned(poem: Path, out: Path, seconds: float = 30.0, name: str = "run", **given: object) -> Job:
    config = RunConfig.from_preset("modern").with_settings({"device": "cpu", **given})
    budget = Budget(seconds, time.perf_counter())
    return new_job(config, [str(poem)], out=out, name=name, budget=budget, fixed=given)


def trainer_of(job: Job) -> Trainer:
    assert job.trainer is not None
    return job.trainer


@pytest.mark.parametrize("text", ["", "soon", "3 minutes", "m3", "-5s", "1h 30m", "3x", "nan"])
def test_what_is_no_duration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration; write 90s, 3m or 1h30m"):
        parse_time(text)


def test_too_short_a_time_says_the_least() -> None:
    with pytest.raises(ConfigError, match="time='2s' leaves no time to train; give at least 5 seconds"):
        parse_time("2s")


@pytest.mark.parametrize("given", [set(), {"corpus", "out"}, {"dropout", "seed", "tokenizer"}])
def test_without_steps_or_sizes_a_run_is_planned_for_three_minutes(given: set[str]) -> None:
    budget = choose_budget(None, given, RunConfig(), 0.0)
    assert budget is not None
    assert budget.seconds == 180


@pytest.mark.parametrize("name", ["max_iters", "n_layer", "block_size", "config", "preset", "init_from"])
def test_who_settles_steps_or_sizes_is_not_planned_for(name: str) -> None:
    assert choose_budget(None, {name}, RunConfig(), 0.0) is None
    assert choose_budget("20s", {name}, RunConfig(), 0.0) == Budget(20, 0.0)


def test_counting_takes_the_time_it_takes() -> None:
    assert choose_budget(None, set(), RunConfig(model="ngram"), 0.0) is None
    with pytest.raises(ConfigError, match="time=60s plans a GPT, and --model bigram is none"):
        choose_budget("60s", set(), RunConfig(model="bigram"), 0.0)


def test_the_plan_is_explicit_and_stored(poem: Path, tmp_path: Path) -> None:
    job = planned(poem, tmp_path)
    stored = load_config(job.run.config_file)["train"]
    train = trainer_of(job).train
    assert stored["max_iters"] == train.max_iters
    assert stored["decay_iters"] == train.decay_iters
    assert train.decay_iters is not None
    assert 1 <= train.decay_iters < train.max_iters
    assert any("plan for 30.0 s on cpu" in notice and "Expected on validation" in notice for notice in job.notices)


def test_given_settings_win(poem: Path, tmp_path: Path) -> None:
    job = planned(poem, tmp_path, **TINY, max_iters=7, eval_interval=3, dropout=0.25)
    config = trainer_of(job).config
    assert (config.architecture.n_embd, config.architecture.n_layer, config.architecture.n_head) == (16, 1, 2)
    assert (config.train.max_iters, config.train.eval_interval, config.train.dropout) == (7, 3, 0.25)
    assert (config.train.block_size, config.train.batch_size) == (16, 4)
    budget = trainer_of(job).budget
    assert budget is not None
    assert budget.replan_at == -1, "given steps are not planned anew"


def test_one_given_size_leaves_the_others_to_the_planner(poem: Path, tmp_path: Path) -> None:
    architecture = trainer_of(planned(poem, tmp_path, n_embd=48, n_head=3, n_layer=1)).config.architecture
    assert (architecture.n_embd, architecture.n_head, architecture.n_layer) == (48, 3, 1)


def test_a_context_is_no_longer_than_the_text(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("to be or not to be, " * 12, encoding="utf-8")
    job = planned(short, tmp_path / "runs", seconds=5.0)
    assert trainer_of(job).train.block_size <= len(trainer_of(job).data.ids("train")) - 1


def test_more_time_never_means_a_smaller_model(poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(config: RunConfig, *_: object) -> Pace:
        area = config.architecture.n_embd**2
        return Pace(area * 1e-6, 1e-7, area * 50)

    monkeypatch.setattr(planner, "measure_pace", probe)
    sizes = [
        trainer_of(planned(poem, tmp_path, seconds=seconds, name=f"run-{seconds}")).model.num_parameters()
        for seconds in (6.0, 60.0, 600.0)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_steps_that_are_left_fit_the_time_that_is_left() -> None:
    train = TrainConfig(max_iters=1_000, decay_iters=600)
    budget = Budget(100.0, time.perf_counter() - 30, reserve=10)
    revised = budget.revised(train, step=400, step_seconds=0.05)
    assert revised.max_iters == pytest.approx(400 + 60 / 0.05, abs=5)
    assert revised.decay_iters == revised.max_iters - 400
    assert budget.revised(train, 400, 0.1) == train, "a trifle is no reason to change"
    assert Budget(1.0, time.perf_counter() - 30).revised(train, 400, 0.1).max_iters == 401


def test_a_changed_end_changes_nothing_that_lies_behind() -> None:
    before = TrainConfig(max_iters=1_000, decay_iters=600, decay="linear", warmup_iters=50)
    after = replace(before, max_iters=1_700, decay_iters=1_300)
    assert [schedule(s, before) for s in range(400)] == [schedule(s, after) for s in range(400)]


@pytest.fixture
def revised_run(poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, list[object]]:
    """A planned run of 20 steps that makes 14 after all."""
    monkeypatch.setattr(planner, "measure_pace", lambda *_: Pace(1.0, 0.0, 10_000))
    monkeypatch.setattr(Budget, "left", lambda self: 20.5)
    monkeypatch.setattr(
        Budget, "revised", lambda self, train, step, _: replace(train, max_iters=14, decay_iters=14 - step)
    )
    job = planned(poem, tmp_path / "runs", **TINY, keep=50)
    return job, list(job.events())


def test_a_run_is_planned_anew_once_at_two_fifths(revised_run: tuple[Job, list[object]]) -> None:
    job, events = revised_run
    (change,) = [event for event in events if isinstance(event, Replanned)]
    assert (change.step, change.max_iters) == (8, 14)
    assert "14 steps instead of 20" in change.message
    assert [e.step for e in events if isinstance(e, Stepped)] == list(range(1, 15))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"
    job.run.verify()
    assert job.run.read_config().train.max_iters == 14


def test_a_rerun_of_the_stored_numbers_gives_the_same_weights(
    revised_run: tuple[Job, list[object]], poem: Path, tmp_path: Path
) -> None:
    job, _ = revised_run
    again = new_job(job.run.read_config(), [str(poem)], out=tmp_path / "runs", name="again")
    run_job(again)
    first, second = (load_file(run.checkpoint(14) / "model.safetensors") for run in (job.run, again.run))
    assert all(first[name].equal(second[name]) for name in first)


def test_a_run_killed_before_it_was_planned_anew_resumes_to_the_new_end(
    revised_run: tuple[Job, list[object]], poem: Path, tmp_path: Path
) -> None:
    job, _ = revised_run
    job.release()
    whole = load_file(job.run.checkpoint(14) / "model.safetensors")
    for step in job.run.steps()[1:]:
        (job.run.checkpoint(step) / "model.safetensors").unlink()
    job.run.point("latest", job.run.steps()[0])
    again = resume_job(job.run)
    assert trainer_of(again).progress.step < 8
    list(again.events())
    resumed = load_file(job.run.checkpoint(14) / "model.safetensors")
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_configuration_that_is_replaced_is_never_half_there(
    poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    run = new_job(RunConfig().with_settings({**TINY, "max_iters": 5}), [str(poem)], out=tmp_path / "runs").run
    new, real, made = replace(run.read_config(), order=3), directory.write_atomic, []

    def write(path: Path, content: str) -> None:
        if len(made) == writes:
            raise KeyboardInterrupt
        made.append(path)
        real(path, content)

    monkeypatch.setattr(directory, "write_atomic", write)
    if writes < 3:
        with pytest.raises(KeyboardInterrupt):
            run.replace_config(new)
    else:
        run.replace_config(new)
    run.verify()
    assert run.read_config().order == (3 if writes >= 2 else None)


def test_a_configuration_that_somebody_else_wrote_is_still_found_out(poem: Path, tmp_path: Path) -> None:
    run = new_job(RunConfig().with_settings({**TINY, "max_iters": 5}), [str(poem)], out=tmp_path / "runs").run
    run.replace_config(replace(run.read_config(), order=3))
    run.config_file.write_text(run.config_file.read_text().replace("order = 3", "order = 4"))
    with pytest.raises(CheckpointError, match="has changed since the run was made"):
        run.verify()


def test_a_plan_says_itself_before_training(poem: Path, tmp_path: Path) -> None:
    events = planned(poem, tmp_path, **TINY, max_iters=2).events()
    first = next(event for event in events if isinstance(event, Notice))
    assert "plan for" in first.message
    assert "2 steps of 64 tokens" in first.message


def test_expectations_order_as_experience_does() -> None:
    rungs = {"ngram": 1.5, "uniform": 4.17}
    few, many = (expect(800_000, tokens, 1_000_000, rungs).gpt for tokens in (500_000, 5_000_000))
    small, large = (expect(size, 50_000_000, 50_000_000, rungs).gpt for size in (100_000, 10_000_000))
    assert few > many
    assert small > large
    again = expect(800_000, 100_000_000, 1_000_000, rungs).gpt
    assert again > expect(800_000, 100_000_000, 100_000_000, rungs).gpt, "what is read again teaches less"
    hard = expect(800_000, 5_000_000, 1_000_000, {"ngram": 3.0, "uniform": 4.17})
    assert hard.gpt > many
    assert hard.mixture < min(hard.gpt, 3.0)
    assert math.isclose(expect(10, 10, 10, rungs).gpt, 4.17), "nothing is worse than knowing nothing"


def test_a_text_that_is_read_often_is_read_with_dropout(
    poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def probe(config: RunConfig, *_: object) -> Pace:
        asked.append(config.train.dropout)
        return Pace(0.1 if config.train.dropout else 0.05, 1e-7, 10_000)

    monkeypatch.setattr(planner, "measure_pace", probe)
    train = trainer_of(planned(poem, tmp_path, seconds=60.0, n_layer=1, n_embd=16, n_head=2)).train
    assert train.dropout == 0.2, "a small text for a minute"
    assert asked == [0.0, 0.2], "what it costs is measured"
    assert train.max_iters < 60 / 0.1
    assert trainer_of(planned(poem, tmp_path, seconds=60.0, dropout=0.0)).train.dropout == 0.0


@pytest.mark.parametrize(("epochs", "dropout"), [(0.1, 0.0), (4.0, 0.0), (4.1, 0.1), (20.1, 0.2), (1e9, 0.2)])
def test_dropout_grows_with_epochs(epochs: float, dropout: float) -> None:
    assert dropout_for(epochs) == dropout


@pytest.mark.parametrize("given", [{"n_embd": 136}, {"n_embd": 8}, {"n_head": 64}, {"n_head": 2, "n_layer": 1}])
def test_what_is_given_is_completed_to_a_shape_that_works(
    poem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, int]
) -> None:
    monkeypatch.setattr(Planner, "_probe", lambda *_: (0.1, 1e-7, 10_000))
    shape = trainer_of(planned(poem, tmp_path, 30.0, "run", **given)).config.architecture
    assert all(getattr(shape, name) == value for name, value in given.items())
    assert shape.n_embd % shape.n_head == 0
    assert shape.head_size % 2 == 0


def test_the_sizes_that_are_weighed_grow() -> None:
    sizes = [shape["n_layer"] * shape["n_embd"] ** 2 for shape in SHAPES]
    assert sizes == sorted(set(sizes))
    assert all(HEAD_SIZE <= shape["n_embd"] // shape["n_head"] <= 2 * HEAD_SIZE for shape in SHAPES)


def test_weights_of_another_run_keep_their_shape(poem: Path, tmp_path: Path) -> None:
    first = new_job(RunConfig().with_settings({**TINY, "max_iters": 3}), [str(poem)], out=tmp_path / "runs")
    run_job(first)
    budget = Budget(30.0, time.perf_counter())
    job = new_job(config_from(first.run), [str(poem)], out=tmp_path / "runs", init_from=first.run, budget=budget)
    assert trainer_of(job).config.architecture == trainer_of(first).config.architecture
    assert trainer_of(job).train.block_size == 16
    assert trainer_of(job).train.max_iters != 3
