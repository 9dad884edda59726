"""The loop: what a step is, when it evaluates, saves and stops, and that resuming changes nothing."""

import errno
import math
import os
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.errors import DivergenceError, StorageError
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.runs.checkpoint import final_checkpoint, load_checkpoint, load_mixture
from clearhead.runs.directory import all_runs
from clearhead.runtime import Runtime
from clearhead.training import job as job_module
from clearhead.training.events import Evaluated, Finished, Notice, Sampled, Saved, Started, Stepped
from clearhead.training.feed import Feed
from clearhead.training.job import Job, new_job, resume_job
from clearhead.training.running import run_job

SMALL = {
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "max_iters": 12,
    "eval_interval": 5,
    "eval_iters": 2,
    "save_interval": 4,
    "warmup_iters": 2,
    "device": "cpu",
}


@pytest.fixture
def make(poem, tmp_path):
    def job(name: str = "run", **settings: object) -> Job:
        config = RunConfig.from_preset("modern").with_settings({**SMALL, **settings})
        return new_job(config, [str(poem)], out=tmp_path / "runs", name=name)

    return job


def weights(job: Job, step: int) -> dict[str, torch.Tensor]:
    return load_file(job.run.checkpoint(step) / "model.safetensors")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def told(job: Job) -> list[dict[str, object]]:
    """The event file, but for clocks and the run's name."""
    return [{k: v for k, v in event.items() if k not in ("seconds", "run")} for event in job.run.read_events()]


def test_events_tell_the_whole_run(make):
    job = make()
    events = list(job.events())
    assert isinstance(events[0], Started)
    assert [e.step for e in events if isinstance(e, Stepped)] == list(range(1, 13))
    assert [e.step for e in events if isinstance(e, Evaluated)] == [0, 5, 10, 12]
    assert [e.step for e in events if isinstance(e, Sampled)] == [0, 5, 10, 12]
    assert {4, 8, 12} <= {e.step for e in events if isinstance(e, Saved)}
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"
    losses = [e.loss for e in events if isinstance(e, Stepped)]
    assert losses[-1] < losses[0]


def test_evaluations_are_held_against_the_rungs(make):
    job = make(max_iters=150, eval_interval=150, learning_rate=1e-2)
    first, last = (e for e in job.events() if isinstance(e, Evaluated))
    assert first.below == ()
    assert "unigram" in last.below
    assert last.val is not None
    assert last.val < job.trainer.rungs["unigram"]  # pyright: ignore[reportOptionalMemberAccess]


def test_two_runs_of_one_seed_are_the_same_run(make):
    a, b = make("a", dropout=0.2), make("b", dropout=0.2)
    run_job(a)
    run_job(b)
    assert_same(weights(a, 12), weights(b, 12))
    c = make("c", dropout=0.2, seed=7)
    run_job(c)
    assert not torch.equal(weights(a, 12)["lm_head.weight"], weights(c, 12)["lm_head.weight"])


def test_looking_more_often_changes_nothing(make):
    a, b = make("a", dropout=0.2), make("b", dropout=0.2, eval_interval=1, eval_iters=3, save_interval=1)
    run_job(a)
    run_job(b)
    assert_same(weights(a, 12), weights(b, 12))


def test_accumulation_gives_the_same_step(make):
    a, b = make("a", precision="float64"), make("b", precision="float64", accumulation=2)
    run_job(a)
    run_job(b)
    for name, tensor in weights(a, 12).items():
        torch.testing.assert_close(tensor, weights(b, 12)[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", registry.names("optimizers"))
@pytest.mark.parametrize("stop_after", [1, 4, 5, 7, 11])
def test_a_resumed_run_ends_like_one_never_interrupted(make, stop_after, optimizer):
    settings = {"dropout": 0.2, "accumulation": 2, "optimizer": optimizer}
    whole, parts = make("whole", **settings), make("parts", **settings)
    run_job(whole)

    class Interrupter:
        def handle(self, event: object) -> None:
            if isinstance(event, Stepped) and event.step == stop_after:
                parts.trainer.request_stop()  # pyright: ignore[reportOptionalMemberAccess]

        def close(self) -> None: ...

    assert run_job(parts, [Interrupter()]).reason == "interrupted"
    resumed = resume_job(parts.run)
    assert run_job(resumed).reason == "done"
    assert_same(weights(whole, 12), weights(parts, 12))
    assert_same(
        load_file(whole.run.checkpoint(12) / "optimizer.safetensors"),
        load_file(parts.run.checkpoint(12) / "optimizer.safetensors"),
    )
    assert whole.run.pointer("best") == parts.run.pointer("best")
    assert told(whole) == told(parts)


def test_one_schedule_moves_every_rate(make):
    job = make(optimizer="muon", learning_rate=1e-3, min_lr=1e-4, muon_learning_rate=0.05, decay="linear")
    groups = job.trainer.optimizer.param_groups
    told, used = zip(
        *(
            (event.learning_rate, [group["lr"] for group in groups])
            for event in job.events()
            if isinstance(event, Stepped)
        ),
        strict=True,
    )
    assert (told[0], told[1], told[2], told[11]) == pytest.approx((5e-4, 1e-3, 1e-3, 1e-4))
    for rate, rates in zip(told, used, strict=True):
        assert rates == pytest.approx([50 * rate, rate, rate])


def test_a_run_stopped_before_its_first_step_can_be_resumed(make):
    whole, stopped = make("whole"), make("stopped")
    run_job(whole)
    assert stopped.trainer is not None
    stopped.trainer.request_stop()
    assert run_job(stopped).step == 0
    run_job(resume_job(stopped.run))
    assert_same(weights(whole, 12), weights(stopped, 12))


def test_a_run_killed_between_checkpoints_goes_on_from_the_last(make):
    whole, killed = make("whole"), make("killed")
    run_job(whole)
    events = killed.events()
    for event in events:
        if isinstance(event, Stepped) and event.step == 7:
            break  # nothing is saved or closed: as kill -9 leaves it
    killed.release()
    assert killed.run.pointer("latest") == 5
    run_job(resume_job(killed.run))
    assert_same(weights(whole, 12), weights(killed, 12))


def test_a_broken_checkpoint_is_passed_over(make):
    whole, broken = make("whole", max_iters=12), make("broken", max_iters=12)
    run_job(whole)
    for event in broken.events():
        if isinstance(event, Stepped) and event.step == 9:
            break
    broken.release()
    newest = broken.run.steps()[-1]
    file = broken.run.checkpoint(newest) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    resumed = resume_job(broken.run)
    assert any("damaged" in notice for notice in resumed.notices)
    assert (broken.run.checkpoints / f"step-{newest}.broken").is_dir(), "kept, where nothing takes it for a checkpoint"
    run_job(resumed)
    assert_same(weights(whole, 12), weights(broken, 12))


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_before_the_update(make, where):
    job = make()
    trainer = job.trainer
    assert trainer is not None
    events = trainer.events()
    for event in events:
        if isinstance(event, Stepped) and event.step == 5:
            break
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    moments = {(id(p), key): value.clone() for p, s in trainer.optimizer.state.items() for key, value in s.items()}
    with torch.no_grad():
        poisoned = next(trainer.model.parameters())
        if where == "loss":
            poisoned[0, 0] = math.nan
        else:
            poisoned.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(
        DivergenceError, match=r"at step 5: stopped before the update.*last good step is 4.*learning_rate"
    ):
        trainer.step()
    for name, p in list(trainer.model.named_parameters())[1:]:
        assert torch.equal(p, before[name])
    for p, state in trainer.optimizer.state.items():
        assert all(torch.equal(value, moments[id(p), key]) for key, value in state.items())


def test_figures_that_are_read_a_step_late_tell_the_same(make, monkeypatch):
    at_once, late = (make(name, dropout=0.1, accumulation=2) for name in ("at-once", "late"))
    run_job(at_once)
    monkeypatch.setattr(Runtime, "lag", property(lambda _: 2))
    run_job(late)
    assert told(late) == told(at_once)


def test_nothing_is_saved_after_a_loss_that_is_no_number_though_it_is_read_late(make, monkeypatch):
    monkeypatch.setattr(Runtime, "lag", property(lambda _: 2))
    trainer = make(max_iters=20, eval_interval=50).trainer
    events = trainer.events()
    next(event for event in events if isinstance(event, Stepped) and event.step == 5)  # 6 and 7 are made by now
    with torch.no_grad():
        next(trainer.model.parameters())[0, 0] = math.nan
    with pytest.raises(DivergenceError, match=r"loss nan at step 7: stopped before a save.*last good step is 4"):
        list(events)
    assert trainer.run.steps() == [4]


def test_patience_ends_a_run_that_no_longer_improves(make):
    job = make(max_iters=200, eval_interval=2, patience=3, learning_rate=1e-9, min_lr=0.0)
    finished = run_job(job)
    assert finished.reason == "patience"
    assert finished.step < 200
    devs = [e["dev"] for e in job.run.read_events() if e["event"] == "evaluated"]
    assert min(devs[:-3]) <= min(devs[-3:])


def test_best_is_kept_and_others_are_pruned(make):
    job = make(max_iters=40, eval_interval=4, save_interval=4, keep=2, learning_rate=3e-2)
    run_job(job)
    evaluated = {e["step"]: e["dev"] for e in job.run.read_events() if e["event"] == "evaluated"}
    best = min(evaluated, key=lambda step: evaluated[step])
    assert job.run.pointer("best") == best
    assert set(job.run.steps()) == {best, 36, 40}


def test_a_full_disk_keeps_the_last_good_checkpoint(make, monkeypatch):
    job = make()
    events = job.events()
    for event in events:
        if isinstance(event, Stepped) and event.step == 7:
            break
    job.trainer.saver.writer.wait()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(StorageError, match="No space left"):
        list(events)
    monkeypatch.undo()
    assert job.run.steps()[-1] == 5
    assert load_checkpoint(job.run, 5).step == 5
    assert not [p for p in job.run.checkpoints.iterdir() if p.name.startswith(".")]


def test_compiling_that_fails_is_one_notice(make, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler here\nlong story")

    monkeypatch.setattr(torch, "compile", fails)
    events = list(make(compile="on", max_iters=2).events())
    notices = [e.message for e in events if isinstance(e, Notice)]
    assert len(notices) == 1
    assert "no compiler here" in notices[0]
    assert "long story" not in notices[0]
    assert isinstance(events[-1], Finished)


def test_a_job_that_cannot_be_leaves_no_folder(make, tmp_path):
    from clearhead.errors import ConfigError

    with pytest.raises(ConfigError, match="unknown init"):
        make(init="nonsense")
    assert all_runs(tmp_path / "runs") == []


def test_a_small_text_shrinks_the_context_and_says_so(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    config = RunConfig.from_preset("modern").with_settings({**SMALL, "block_size": 64})
    job = new_job(config, [str(path)], out=tmp_path / "runs")
    assert any("block_size=64" in notice and "using 45" in notice for notice in job.notices)
    assert any("no validation possible, these are training numbers" in notice for notice in job.notices)
    assert run_job(job).reason == "done"
    assert job.run.read_config().train.block_size == 45


def test_the_golden_curve(tmp_path):
    """One small float64 run, pinned: a change of numbers must be meant."""
    path = tmp_path / "abc.txt"
    path.write_text("".join(chr(97 + (i * i + i // 7) % 23) for i in range(3_000)), encoding="utf-8")
    config = RunConfig.from_preset("lecture").with_settings({**SMALL, "precision": "float64", "max_iters": 10})
    job = new_job(config, [str(path)], out=tmp_path / "runs")
    losses = [event.loss for event in job.events() if isinstance(event, Stepped)]
    assert losses == pytest.approx(GOLDEN, rel=1e-7)
    assert all(abs(a - b) > 1e-6 for a, b in pairwise(losses))


GOLDEN = [
    3.122251294322,
    3.130786999845,
    3.117477479426,
    3.112483837907,
    3.125217622426,
    3.121761626493,
    3.13991274634,
    3.114442099886,
    3.104688332062,
    3.126303370538,
]


def test_the_bigram_by_gradient_nears_the_counts(make):
    from clearhead.evaluation.loss import split_loss

    settings = {**replace(RunConfig.from_preset("modern", "bigram").train).__dict__, "max_iters": 600, "device": "cpu"}
    job = make(model="bigram", **{k: v for k, v in settings.items() if k not in SMALL or k == "max_iters"})
    run_job(job)
    trainer = job.trainer
    assert trainer is not None
    counted = next(r for r in job.rungs if r.name == "bigram").nats_per_token
    assert split_loss(trainer.model, trainer.data).nats_per_token == pytest.approx(counted, abs=0.1)


def test_dev_is_learned_from_when_it_has_decided(make, monkeypatch):
    job = make(max_iters=12, dev_iters=4, eval_interval=5)
    batches = {}
    feed, seen = job.trainer.feed, Feed.training

    def watched(self, step):
        batches[step] = seen(self, step)
        return batches[step]

    monkeypatch.setattr(Feed, "training", watched)
    events = list(job.events())
    assert sorted(batches) == list(range(12))
    for step, (x, y) in batches.items():
        learned = 2 if step >= 8 else 0
        train, dev = (feed.batch(split, step) for split in ("train", "dev"))
        assert torch.equal(x, torch.cat([train[0][: 4 - learned], dev[0][4 - learned :]]))
        assert torch.equal(y, torch.cat([train[1][: 4 - learned], dev[1][4 - learned :]]))
    judged = {event.step: event.dev for event in events if isinstance(event, Evaluated)}
    assert list(judged) == [0, 5, 8, 10, 12], "dev says its last word before it is learned from"
    assert all((loss is None) == (step > 8) for step, loss in judged.items())
    assert job.run.pointer("best") <= 8
    assert final_checkpoint(job.run).step == 12


def test_a_run_that_stops_before_it_learns_from_dev_is_used_by_its_best(make):
    job = make(max_iters=12, dev_iters=4, eval_interval=2)
    for event in job.events():
        if isinstance(event, Stepped) and event.step == 5:
            job.trainer.request_stop()
    assert final_checkpoint(job.run).step == job.run.pointer("best") <= 5


def test_the_mixture_of_such_a_run_is_fitted_before_and_used_after(make, monkeypatch):
    fitted = []
    real = job_module.fit_mixture
    monkeypatch.setattr(job_module, "fit_mixture", lambda gpt, *rest: fitted.append(gpt) or real(gpt, *rest))
    job = make(model="mixture", max_iters=12, dev_iters=4)
    list(job.events())
    saved = load_mixture(job.run)
    assert saved is not None
    mixture = saved.model
    assert isinstance(mixture, MixtureLanguageModel)
    last, best = (load_checkpoint(job.run, step).model.state_dict() for step in (12, job.run.pointer("best")))
    assert_same(mixture.gpt.state_dict(), last)
    assert_same(fitted[0].state_dict(), best)
    assert not all(torch.equal(last[name], best[name]) for name in last)


def test_a_dev_too_short_for_a_row_is_left_alone(make, poem):
    poem.write_text(poem.read_text()[:1200], encoding="utf-8")
    job = make(max_iters=6, dev_iters=3, block_size=64)
    assert len(job.trainer.data.ids("dev")) <= 64
    events = list(job.events())
    assert [e.dev is None for e in events if isinstance(e, Evaluated)] == [len(job.trainer.data.ids("dev")) < 2] * 3


def test_a_run_resumed_while_it_learns_from_dev_ends_with_the_same_weights(make):
    whole = make("whole", dev_iters=6, dropout=0.1)
    list(whole.events())
    cut = make("cut", dev_iters=6, dropout=0.1)
    for event in cut.events():
        if isinstance(event, Stepped) and event.step == 9:
            cut.trainer.request_stop()
    cut.release()
    list(resume_job(cut.run).events())
    assert_same(weights(whole, 12), weights(cut, 12))
