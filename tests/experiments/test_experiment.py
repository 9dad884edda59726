"""An experiment from the question to the sentence: paired runs, used again, gone on with, judged."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import clearhead
from clearhead.errors import CheckpointError, ConfigError, CorpusError
from clearhead.experiments import conduct as conducting
from clearhead.experiments.conduct import Silence, Stopped, clocked, conduct
from clearhead.experiments.design import Texts, draw_up
from clearhead.experiments.entrance import answer
from clearhead.experiments.judge import judge, tokens_per_second
from clearhead.experiments.knobs import read_knob
from clearhead.figures import figures_of
from clearhead.runs.directory import all_runs
from clearhead.training.events import Stepped
from clearhead.training.feed import Feed
from clearhead.training.pace import Pace
from clearhead.training.trainer import Trainer

TINY = {"n_embd": 8, "n_layer": 1, "batch_size": 4, "block_size": 16, "max_iters": 20, "eval_iters": 2, "device": "cpu"}


def turned(poem, out, word, seeds=2, **settings):
    """The answer to a tiny experiment."""
    name, _, values = word.partition("=")
    given = {key: value for key, value in TINY.items() if key != name} | settings
    return clearhead.experiment({name: values.split(",")}, poem, out=out, seeds=seeds, progress=False, **given)


def design_of(poem, word="n_embd=4,8", seeds=2, **settings):
    given = {name: value for name, value in TINY.items() if name not in word} | settings
    return draw_up([read_knob(word)], Texts([str(poem)]), given, seeds=seeds)


def test_every_value_reads_the_same_batches_seed_by_seed(poem, tmp_path, monkeypatch):
    read: dict[str, list[np.ndarray]] = {}
    before = Trainer.__post_init__

    def watched(trainer: Trainer) -> None:
        before(trainer)
        feed, name = trainer.feed, trainer.run.name

        class Watched(Feed):
            def training(self, step):
                x, y = super().training(step)
                read.setdefault(name, []).append(x.numpy().copy())
                return x, y

        trainer.feed = Watched(feed.data, feed.train, feed.runtime)

    monkeypatch.setattr(Trainer, "__post_init__", watched)
    found = turned(poem, tmp_path, "n_embd=4,8")
    (four, eight), other = ([outcome.trials[0].run.rpartition("/")[2] for outcome in found.outcomes]), found.outcomes[0]
    second = other.trials[1].run.rpartition("/")[2]
    assert len(read[four]) == 20
    assert all((a == b).all() for a, b in zip(read[four], read[eight], strict=True))
    assert any((a != b).any() for a, b in zip(read[four], read[second], strict=True)), "another seed, other batches"


def test_a_rate_of_zero_against_a_good_one_is_told_apart(poem, tmp_path):
    found = turned(poem, tmp_path, "learning_rate=0,1e-2", max_iters=60)
    assert found.verdict.startswith("learning_rate=1e-2 is best: lower in nats per token than learning_rate=0 by ")
    assert found.best is found.outcome("1e-2")
    still = found.outcome(0)
    assert still.trials[0].curve.val[0] == pytest.approx(still.trials[0].curve.val[-1]), "nothing was learned"
    assert f"{found.best.nats_per_token:.4f}" in str(found)
    assert f"{found.best.bits_per_char:.4f}" in str(found)


def test_a_knob_that_does_nothing_is_no_difference(poem, tmp_path):
    found = turned(poem, tmp_path, "rope_theta=1000,10000")  # positions are learned: nothing rotates
    first, second = found.outcomes
    assert first.nats_per_token == second.nats_per_token
    assert found.verdict.startswith("no difference shown: ")


def test_across_tokenizers_only_bits_per_character_count(poem, tmp_path):
    found = turned(poem, tmp_path, "tokenizer=char,word")
    assert found.unit == "bits per character"
    assert found.comparison is not None
    assert all(difference.nats_per_token is None for difference in found.comparison.differences)
    assert "bits per character" in found.verdict
    assert "nats per token" not in found.verdict
    assert any("tokenizer: a batch is another one" in note for note in found.notes)


def test_what_is_there_is_used_again_and_must_be_the_same(poem, tmp_path, monkeypatch):
    first = turned(poem, tmp_path, "n_embd=4,8")
    runs = {run.name: run.path.stat().st_mtime_ns for run in all_runs(tmp_path)}
    assert len(runs) == 4
    monkeypatch.setattr(conducting, "begin_job", None)
    monkeypatch.setattr(conducting, "resume_job", None)
    again = turned(poem, tmp_path, "n_embd=4,8")
    assert again.to_dict() == first.to_dict()
    monkeypatch.undo()
    more = turned(poem, tmp_path, "n_embd=4,8", max_iters=21)
    assert not {t.run for o in more.outcomes for t in o.trials} & {t.run for o in first.outcomes for t in o.trials}


def test_a_run_under_this_name_that_is_another_is_refused(poem, tmp_path):
    design = design_of(poem)
    conduct(design, tmp_path)
    arm = design.arms[0]
    (tmp_path / arm.run_name(1337)).rename(tmp_path / "kept")
    (tmp_path / design.arms[1].run_name(1337)).rename(tmp_path / arm.run_name(1337))
    with pytest.raises(CheckpointError, match="n_embd=8 where this experiment has 4"):
        conduct(design, tmp_path)
    (tmp_path / arm.run_name(1338)).rename(tmp_path / "also")
    (tmp_path / arm.run_name(1338)).mkdir()
    with pytest.raises(CheckpointError, match="is no run, and bears the name"):
        conduct(design, tmp_path)


class CrashError(Exception):
    """As a power cut."""


class Crashing(Silence):
    """Ends everything within the third run."""

    def __init__(self, stop: type[BaseException]) -> None:
        self.ended, self.stop = 0, stop

    def handle(self, arm, seed, event):
        if self.ended == 2 and isinstance(event, Stepped) and event.step == 13:
            raise self.stop

    def end(self, arm, seed, run, *, before):
        self.ended += 1


def test_what_was_cut_short_goes_on_to_the_same_bits(poem, tmp_path):
    design = design_of(poem)
    whole = judge(design, conduct(design, tmp_path / "whole"))
    with pytest.raises(CrashError):
        conduct(design, tmp_path / "cut", Crashing(CrashError))
    assert len(all_runs(tmp_path / "cut")) == 3
    gone_on = judge(design, conduct(design, tmp_path / "cut"))
    for ours, theirs in zip(whole.outcomes, gone_on.outcomes, strict=True):
        for one, other in zip(ours.trials, theirs.trials, strict=True):
            assert one.val_nats_per_token == other.val_nats_per_token
            assert one.curve.val == other.curve.val
    for run in all_runs(tmp_path / "whole"):
        steps = run.steps()
        ours, theirs = (
            (out / run.name / "checkpoints" / f"step-{steps[-1]}" / "model.safetensors").read_bytes()
            for out in (tmp_path / "whole", tmp_path / "cut")
        )
        assert ours == theirs


def test_a_signal_saves_and_says_so(poem, tmp_path, monkeypatch):
    class Signalling(Silence):
        def handle(self, arm, seed, event):
            import signal

            if isinstance(event, Stepped) and event.step == 7:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped) as caught:
        conduct(design_of(poem), tmp_path, Signalling())
    assert caught.value.signal == 15
    assert caught.value.run.steps()[-1] == 7, "what was done is saved"


def test_the_document_says_what_the_table_says(poem, tmp_path):
    found = turned(poem, tmp_path, "n_embd=4,8")
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["view"] == "experiment"
    assert document["verdict"] == found.verdict
    assert [row["name"] for row in document["outcomes"]] == ["n_embd=4", "n_embd=8"]
    for row in document["outcomes"]:
        assert row["nats_per_token"] == pytest.approx(np.mean([trial["val_nats_per_token"] for trial in row["trials"]]))
        assert {"spread", "bits_per_char", "parameters", "memory", "steps", "trials"} <= row.keys()
        assert [trial["seed"] for trial in row["trials"]] == [1337, 1338]
    assert document["outcomes"][1]["parameters"] > document["outcomes"][0]["parameters"]


def test_figures_hold_a_curve_for_each_setting(poem, tmp_path):
    found = turned(poem, tmp_path, "n_embd=4,8")
    (figure,) = figures_of(found).values()
    traces: Any = figure.data
    means = [trace for trace in traces if trace.mode == "lines+markers" and trace.showlegend]
    assert [trace.name for trace in means] == ["n_embd=4", "n_embd=8"]
    assert list(means[0].x) == list(found.outcomes[0].trials[0].curve.steps)
    assert found.shown.save(tmp_path / "found.html") == [tmp_path / "found.html"]


def test_one_seed_says_what_it_cannot_know(poem, tmp_path):
    found = turned(poem, tmp_path, "n_embd=4,8", seeds=1)
    assert found.outcomes[0].spread is None
    assert any(note.startswith("one seed:") for note in found.notes)


def test_without_a_mask_the_lowest_is_not_called_best(poem, tmp_path):
    found = turned(poem, tmp_path, "mask=on,off", max_iters=150, learning_rate=1e-2)
    assert not found.outcome("off").predicts
    assert any("its loss is no prediction" in note for note in found.notes)
    assert "best" not in found.verdict or found.best.predicts


def test_models_and_counted_ones_stand_side_by_side(poem, tmp_path):
    found = turned(poem, tmp_path, "model=bigram,gpt,ngram")
    ngram = found.outcome("ngram")
    assert (ngram.memory, ngram.steps, ngram.trials[0].tokens_per_second) == (None, 0, None)
    assert len({trial.val_nats_per_token for trial in ngram.trials}) == 1, "a count has no seed"


def test_a_grid_that_takes_hours_is_not_begun(poem, tmp_path, monkeypatch):
    monkeypatch.setattr(conducting, "measure_pace", lambda *_: Pace(10.0, 0.0, 1))
    with pytest.raises(ConfigError, match=r"2 settings over 2 seeds would take about 13 min .*say --yes") as caught:
        conduct(design_of(poem), tmp_path, most_seconds=600)
    assert "\n" not in str(caught.value)
    assert not all_runs(tmp_path)


def test_equal_time_is_steps_by_the_pace_the_same_for_all_seeds(poem, tmp_path, monkeypatch):
    paces = {4: 0.5, 8: 1.0}
    monkeypatch.setattr(conducting, "measure_pace", lambda config, *_: Pace(paces[config.architecture.n_embd], 0.0, 1))
    design = replace(design_of(poem, seeds=2), seconds=20.0)
    design, _ = clocked(design, tmp_path)
    assert [arm.draft.config.train.max_iters for arm in design.arms] == [40, 20]
    conduct(design, tmp_path)
    paces[4] = paces[8] = 0.1  # another day, another pace: runs that are there keep their steps
    again, left = clocked(replace(design_of(poem, seeds=2), seconds=20.0, arms=design.arms), tmp_path)
    assert [arm.draft.config.train.max_iters for arm in again.arms] == [40, 20]
    assert left == 0


def test_a_text_without_validation_is_refused_before_anything_is_trained(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("to be or not to be", encoding="utf-8")
    with pytest.raises(CorpusError, match="too short to hold any validation text back"):
        answer([read_knob("n_embd=4,8")], [str(short)], {}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_value_that_makes_no_configuration_is_found_before_anything_is_trained(poem, tmp_path):
    for word, says in (("n_embd=8,9", "not divisible"), ("init=normal,nrm", "unknown init"), ("model=gpt,gtp", "gtp")):
        with pytest.raises(ConfigError, match=says):
            turned(poem, tmp_path / "runs", word)
    with pytest.raises(ConfigError, match="n_embd is turned by the knob n_embd"):
        clearhead.experiment({"n_embd": [4, 8]}, poem, n_embd=8)
    with pytest.raises(ConfigError, match="leave one of them out"):
        clearhead.experiment({"n_embd": [4, 8]}, poem, time="10s", max_iters=5)
    assert not (tmp_path / "runs").exists()


def test_the_pace_is_that_of_steps_alone():
    steps = [{"event": "stepped", "step": n, "seconds": 0.5 * n + (n > 2) * 9} for n in range(1, 6)]
    assert tokens_per_second([{"event": "started", "tokens_per_step": 100}, *steps]) == pytest.approx(200)


def test_a_search_decides_on_dev_and_is_judged_on_fresh_seeds(poem, tmp_path):
    pytest.importorskip("optuna")
    knobs = {"learning_rate": "1e-4..1e-2", "n_head": [2, 3]}
    asked = {**TINY, "out": tmp_path, "seeds": 2, "trials": 5, "progress": False}
    found = clearhead.experiment(knobs, poem, **asked)
    assert len(found.tried) == 5
    failed = [one for one in found.tried if one.trouble]
    assert all("not divisible" in one.trouble and one.run is None for one in failed if one.trouble)
    best = min((one for one in found.tried if one.run), key=lambda one: one.dev_bits_per_char or 9)
    assert [outcome.name for outcome in found.outcomes] == [best.name, "learning_rate=0.001, n_head=2"]
    assert found.seeds == (1338, 1339), "not the seed that chose"
    runs = len(all_runs(tmp_path))
    assert clearhead.experiment(knobs, poem, **asked).to_dict() == found.to_dict(), "the same search finds its runs"
    assert len(all_runs(tmp_path)) == runs
