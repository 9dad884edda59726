"""A run on disk: whole or not there, checked when read, never overwritten."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.errors import CheckpointError, CorpusError
from clearhead.models.bigram import BigramLanguageModel
from clearhead.optim.adamw import build_adamw
from clearhead.runs.checkpoint import (
    best_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    optimizer_tensors,
    prune,
    restore_optimizer,
    save_checkpoint,
)
from clearhead.runs.corpus import corpus_record, open_data
from clearhead.runs.directory import RunDirectory, all_runs, create_run, find_run


@pytest.fixture
def make(poem, tmp_path):
    def run(name: str = "run") -> RunDirectory:
        prepared = prepare(RunConfig(), [str(poem)])
        return create_run(
            tmp_path / "runs",
            name,
            config=RunConfig(),
            tokenizer=prepared.tokenizer,
            corpus=corpus_record(prepared.corpus),
            environment={"torch": torch.__version__},
        )

    return run


@pytest.fixture
def model() -> BigramLanguageModel:
    torch.manual_seed(0)
    return BigramLanguageModel(7)


def test_a_run_directory_holds_what_the_plan_says(make):
    run = make()
    assert {p.name for p in run.path.iterdir()} == {
        "config.toml",
        "environment.json",
        "tokenizer.json",
        "corpus.json",
        "manifest.json",
        "checkpoints",
    }
    run.verify()
    assert run.read_config() == RunConfig()
    assert run.read_tokenizer().decode(run.read_tokenizer().encode("hill")) == "hill"
    assert run.read_corpus()["name"] == "poem.txt"


def test_a_run_that_exists_is_never_overwritten(make):
    assert [make().name, make().name, make().name] == ["run", "run-2", "run-3"]


@pytest.mark.parametrize("file", ["config.toml", "tokenizer.json", "corpus.json", "environment.json"])
def test_a_changed_file_is_named(make, file):
    run = make()
    content = (run.path / file).read_bytes()
    (run.path / file).write_bytes(content.replace(b'"', b"'", 1))
    with pytest.raises(CheckpointError, match=f"{file} has changed"):
        run.verify()
    (run.path / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file} is missing"):
        run.verify()


def test_finding_runs(make, tmp_path):
    out = tmp_path / "runs"
    with pytest.raises(CheckpointError, match="clearhead train"):
        find_run(None, out)
    first, second = make("first"), make("second")
    assert all_runs(out) == [first, second]
    assert find_run(None, out) == second
    assert find_run("first", out) == find_run(first.path, out) == first
    with pytest.raises(CheckpointError, match="did you mean 'second'"):
        find_run("secnd", out)
    with pytest.raises(CheckpointError, match="is a folder but no run"):
        find_run(out, out)


def test_the_newest_run_with_weights_is_found(make, model, tmp_path):
    trained, _ = make("trained"), make("empty")
    save_checkpoint(trained, 1, model, state={})
    assert find_run(None, tmp_path / "runs") == trained


def test_weights_and_moments_come_back_exactly(make, model):
    run = make()
    optimizer = build_adamw(model, RunConfig().train)
    model(torch.tensor([[1, 2]]), torch.tensor([[2, 3]])).loss.backward()
    optimizer.step()
    save_checkpoint(run, 3, model, state={"step": 3}, optimizer=optimizer_tensors(optimizer, model))
    assert run.pointer("latest") == 3
    loaded = load_checkpoint(run, 3)
    assert (loaded.step, loaded.state) == (3, {"step": 3})
    assert torch.equal(loaded.model.state_dict()["token_embedding_table.weight"], model.token_embedding_table.weight)
    other = build_adamw(loaded.model, RunConfig().train)
    restore_optimizer(other, loaded.model, loaded.optimizer)
    mine, theirs = (next(iter(o.state.values())) for o in (optimizer, other))
    assert all(torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(theirs[key])) for key in mine)


def test_moments_of_another_model_are_refused(model):
    optimizer = build_adamw(model, RunConfig().train)
    with pytest.raises(CheckpointError, match="unknown weights"):
        restore_optimizer(optimizer, model, {"nonsense.exp_avg": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="shape"):
        restore_optimizer(optimizer, model, {"token_embedding_table.weight.exp_avg": torch.zeros(2, 2)})


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("sixteenth", range(0, 16, 5))
def test_a_truncated_checkpoint_is_never_believed(make, model, name, sixteenth):
    run = make()
    file = save_checkpoint(run, 1, model, state={}, optimizer={"x.y": torch.ones(3)}) / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * sixteenth // 16])
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(run, 1)
    assert "\n" not in str(refusal.value)


def test_a_flipped_bit_is_never_believed(make, model):
    run = make()
    folder = save_checkpoint(run, 1, model, state={"a": 1}, optimizer={"x.y": torch.ones(3)})
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        content = bytearray((folder / name).read_bytes())
        for at in range(0, len(content), max(1, len(content) // 13)):
            content[at] ^= 1 << (at % 8)
            (folder / name).write_bytes(content)
            with pytest.raises(CheckpointError):
                load_checkpoint(run, 1)
            content[at] ^= 1 << (at % 8)
        (folder / name).write_bytes(content)
    assert load_checkpoint(run, 1).state == {"a": 1}


def test_the_newest_whole_checkpoint_is_taken(make, model):
    run = make()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        newest_checkpoint(run)
    for step in (1, 2, 10):
        save_checkpoint(run, step, model, state={})
    assert run.steps() == [1, 2, 10]
    shutil.rmtree(run.checkpoint(10))
    run.checkpoint(10).mkdir()
    found, passed_over = newest_checkpoint(run)
    assert found.step == 2
    assert len(passed_over) == 1


def test_best_is_spared_and_preferred(make, model):
    run = make()
    for step in (1, 2, 3, 4):
        save_checkpoint(run, step, model, state={})
    run.point("best", 1)
    prune(run, keep=2)
    assert run.steps() == [1, 3, 4]
    assert best_checkpoint(run).step == 1
    shutil.rmtree(run.checkpoint(1))
    assert best_checkpoint(run).step == 4


def test_a_pointer_that_is_broken_points_nowhere(make):
    run = make()
    (run.path / "best").write_bytes(b"\xff\xfe../../step-1")
    assert run.pointer("best") is None


def test_the_text_of_a_run_is_found_again(make, poem):
    run = make()
    assert open_data(run).meta.corpus_sha256 == run.read_corpus()["sha256"]
    poem.write_text(poem.read_text() + "more", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"text of run run has changed: it had 9,\d+ characters"):
        open_data(run)


def test_a_text_that_is_gone_is_still_in_the_cache(make, poem, monkeypatch, tmp_path):
    run = make()
    Path(poem).unlink()
    assert len(open_data(run).ids("val")) > 0
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "empty"))
    with pytest.raises(CorpusError, match="is gone"):
        open_data(run)


def test_events_survive_a_last_line_cut_short(make):
    run = make()
    run.events_file.write_text(json.dumps({"event": "started", "step": 0}) + '\n{"event": "step', encoding="utf-8")
    assert run.read_events() == [{"event": "started", "step": 0}]
