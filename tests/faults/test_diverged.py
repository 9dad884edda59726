"""NaN and infinity, in the loss, a gradient or a weight: stopped before they are kept, and gone on from before them."""

import math
import random

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import ending, tiny_job

from clearhead import registry
from clearhead.errors import DivergenceError
from clearhead.models.base import Output
from clearhead.runs.checkpoint import MODEL, OPTIMIZER
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from clearhead.training.job import resume_job
from clearhead.training.running import run_job
from clearhead.training.trainer import Trainer

TRAINED = [name for name in registry.names("models") if name != "ngram"]
WHERE = ("loss", "gradient", "weights", "a weight", "a moment")


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch):
    monkeypatch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """How a run of a model and an optimizer ends when nothing happens to it."""
    known = {}

    def of(model: str, optimizer: str) -> dict[str, object]:
        if (model, optimizer) not in known:
            job = tiny_job(tmp_path_factory.mktemp("undisturbed"), model=model, optimizer=optimizer)
            run_job(job)
            known[model, optimizer] = ending(job.run)
        return known[model, optimizer]

    return of


def poison(trainer: Trainer, where: str, step: int, value: float) -> None:
    """Let a value appear while step + 1 is made from step."""
    now = lambda: trainer.model.training and trainer.progress.step == step  # noqa: E731
    parameter = list(trainer.model.parameters())[-1]
    if where == "loss":

        def spoil(_: object, __: object, output: Output) -> Output | None:
            return Output(output.logits, output.loss * value) if now() and output.loss is not None else None

        trainer.model.register_forward_hook(spoil)
    elif where == "gradient":
        parameter.register_hook(lambda gradient: gradient * value if now() else None)
    else:
        spoil_after(trainer, where, parameter, now, value)


def spoil_after(trainer: Trainer, where: str, parameter: torch.nn.Parameter, now, value: float) -> None:
    """Let the update itself go wrong."""
    update = trainer.optimizer.step

    def spoiled() -> None:
        update()
        if now():
            moments = [m for m in trainer.optimizer.state[parameter].values() if torch.is_tensor(m) and m.dim()]
            with torch.no_grad():
                (moments[0] if where == "a moment" else parameter).view(-1)[: 1 if where.startswith("a ") else None] = (
                    value
                )

    trainer.optimizer.step = spoiled  # pyright: ignore[reportAttributeAccessIssue]


def assert_stopped(job, step: int) -> str:
    """Training ends with one line, and nothing of it is saved."""
    with pytest.raises(DivergenceError) as stopped:
        run_job(job)
    said = str(stopped.value)
    assert stopped.value.exit_code == 1
    assert "\n" not in said
    saved = [number for number in job.run.steps() if number <= step]
    assert job.run.steps() == saved
    assert (f"the last good step is {max(saved)}" if saved else "nothing was saved yet") in said
    rate = float(said.rpartition("--learning_rate ")[2])
    assert rate < job.trainer.train.learning_rate
    assert job.run.read_events()[-1] == {"event": "failed", "step": job.trainer.progress.step, "message": said}
    for number in saved:
        for name in (MODEL, OPTIMIZER):
            assert all(tensor.isfinite().all() for tensor in load_file(job.run.checkpoint(number) / name).values())
    return said


def check(folder, model: str, optimizer: str, where: str, step: int, value: float, undisturbed) -> None:
    job = tiny_job(folder, model=model, optimizer=optimizer)
    assert job.trainer is not None
    poison(job.trainer, where, step, value)
    said = assert_stopped(job, step)
    if where in ("loss", "gradient"):
        assert f"at step {step}: stopped before the update" in said
        assert job.trainer.progress.step == step
        assert all(p.isfinite().all() for p in job.trainer.model.parameters())
    run_job(resume_job(job.run))
    assert ending(job.run) == undisturbed(model, optimizer)
    assert verify_run(RunDirectory(job.run.path)).faults == ()


def cases(count: int | None = None) -> list[tuple[str, str, str, int, float]]:
    """Every model with every optimizer, place and value, each at a step drawn with a seed."""
    draw = random.Random(19)
    every = [
        (model, optimizer, where, draw.randrange(8), value)
        for model in TRAINED
        for optimizer in registry.names("optimizers")
        for where in WHERE
        for value in (math.nan, math.inf, -math.inf)
        if not (model == "bigram" and optimizer == "muon")
    ]
    return every if count is None else draw.sample(every, count)


@pytest.mark.parametrize(("model", "optimizer", "where", "step", "value"), cases(8))
def test_what_is_no_number_is_never_kept(tmp_path, undisturbed, model, optimizer, where, step, value):
    check(tmp_path, model, optimizer, where, step, value, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer", "where", "step", "value"), cases())
def test_what_is_no_number_is_never_kept_anywhere(tmp_path, undisturbed, model, optimizer, where, step, value):
    check(tmp_path, model, optimizer, where, step, value, undisturbed)


@pytest.mark.parametrize("step", range(8))
def test_weights_spoiled_by_an_update_are_not_saved_at_any_step(tmp_path, undisturbed, step):
    """Loss and gradient were finite; the next look at the weights is an evaluation, a save or a step."""
    check(tmp_path, "gpt", "adamw", "weights", step, math.nan, undisturbed)


def test_a_poison_that_stays_ends_every_resume_the_same_way(tmp_path):
    job = tiny_job(tmp_path)
    for _ in range(3):
        assert job.trainer is not None
        poison(job.trainer, "loss", 5, math.nan)
        assert "at step 5" in assert_stopped(job, 5)
        job = resume_job(job.run)
    job.release()
    failures = [event for event in job.run.read_events() if event["event"] == "failed"]
    assert failures == [], "taken back by the resume, as all that came after the checkpoint"
