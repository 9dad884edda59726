from typing import Any

import numpy as np
import pytest

from clearhead.config import RunConfig
from clearhead.evaluation.certificate import certify, sampled_pairs
from clearhead.evaluation.loss import FULL_PRECISION
from clearhead.training.certifying import pairs_at
from clearhead.training.feed import Feed
from clearhead.training.job import new_job, resume_job
from clearhead.training.running import run_job

SMALL = {
    "max_iters": 12,
    "eval_interval": 4,
    "eval_iters": 1,
    "save_interval": 6,
    "block_size": 8,
    "batch_size": 5,
    "device": "cpu",
}


def trained(poem, folder, **settings) -> Any:
    config = RunConfig.from_preset("modern", "bigram").with_settings({**SMALL, **settings})
    return new_job(config, [str(poem)], out=folder, name="bigram")


def certified(run):
    return [event for event in run.read_events() if event["event"] == "certified"]


def test_a_bigram_tells_its_gap_at_each_evaluation(poem, tmp_path):
    job = trained(poem, tmp_path)
    run_job(job)
    events = certified(job.run)
    assert [event["step"] for event in events] == [0, 4, 8, 12]
    found = certify(
        job.trainer.model.token_embedding_table.weight, pairs_at(job.trainer.feed, 11, job.trainer.model.vocab_size)
    )
    assert (events[-1]["gap"], events[-1]["floor"]) == (found.gap, found.floor)
    assert events[-1]["gap"] == events[-1]["leak"] + events[-1]["misfit"] < events[0]["gap"]


def test_a_resumed_run_tells_the_same(poem, tmp_path):
    whole, cut = trained(poem, tmp_path / "a"), trained(poem, tmp_path / "b")
    run_job(whole)
    for event in cut.events():
        if event.step == 7:
            break
    cut.release()
    again = resume_job(cut.run)
    run_job(again)
    told = certified(again.run)
    assert told[-2:] == certified(whole.run)[-2:]


def test_rows_from_dev_are_weighed_with_them(poem, tmp_path):
    job = trained(poem, tmp_path, dev_iters=4)
    job.release()
    trainer = job.trainer
    feed, V = Feed(trainer.data, trainer.train, FULL_PRECISION), trainer.model.vocab_size
    early, late = pairs_at(feed, 7, V), pairs_at(feed, 8, V)
    dev = sampled_pairs(trainer.data.ids("dev"), 8, V)
    expected = 0.6 * np.bincount(early.keys, early.weights, V * V) + 0.4 * np.bincount(dev.keys, dev.weights, V * V)
    np.testing.assert_allclose(np.bincount(late.keys, late.weights, V * V), expected, atol=1e-15)
    x, _ = feed.training(8)
    assert len(x) == 5
    assert late.weights.sum() == pytest.approx(1)


def test_other_models_tell_nothing(poem, tmp_path):
    shape = {"n_embd": 8, "n_head": 2, "n_layer": 1}
    job = new_job(RunConfig().with_settings({**SMALL, **shape, "max_iters": 2}), [str(poem)], out=tmp_path)
    run_job(job)
    assert not certified(job.run)
