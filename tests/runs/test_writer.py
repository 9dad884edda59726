"""Checkpoints from a thread: what was copied is what is written, one at a time, and no error is lost."""

import threading
from pathlib import Path

import pytest
import torch

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.errors import StorageError
from clearhead.models.bigram import BigramLanguageModel
from clearhead.runs import writer as writer_module
from clearhead.runs.checkpoint import Snapshot, load_checkpoint, write_snapshot
from clearhead.runs.corpus import corpus_record
from clearhead.runs.directory import RunDirectory, create_run
from clearhead.runs.writer import CheckpointWriter


@pytest.fixture
def run(poem, tmp_path) -> RunDirectory:
    prepared = prepare(RunConfig(), [str(poem)])
    return create_run(
        tmp_path / "runs",
        "run",
        config=RunConfig(),
        tokenizer=prepared.tokenizer,
        corpus=corpus_record(prepared.corpus),
        environment={},
    )


@pytest.fixture
def model() -> BigramLanguageModel:
    torch.manual_seed(0)
    return BigramLanguageModel(7)


@pytest.fixture
def gate(monkeypatch):
    """Checkpoints are written when this opens."""
    opened = threading.Event()

    def waiting(path: Path, taken: Snapshot) -> None:
        assert opened.wait(10)
        write_snapshot(path, taken)

    monkeypatch.setattr(writer_module, "write_snapshot", waiting)
    yield opened
    opened.set()


def table(model: BigramLanguageModel) -> torch.Tensor:
    return model.state_dict()["token_embedding_table.weight"]


def begin(writer: CheckpointWriter, step: int, model: BigramLanguageModel, best: int | None = None) -> None:
    writer.begin(step, model, state={"step": step}, optimizer={"a.b": table(model) + step}, best=best)


def test_what_is_written_is_what_was_there_at_the_beginning(run, model, gate):
    writer, before = CheckpointWriter(run, 2), table(model).clone()
    begin(writer, 1, model)
    moments = before + 1
    with torch.no_grad():
        table(model).fill_(0.0)
    gate.set()
    writer.wait()
    read = load_checkpoint(run, 1)
    assert isinstance(read.model, BigramLanguageModel)
    assert torch.equal(table(read.model), before)
    assert torch.equal(read.optimizer["a.b"], moments)
    assert read.state == {"step": 1}


def test_training_does_not_wait_and_the_next_save_does(run, model, gate):
    writer = CheckpointWriter(run, 2)
    begin(writer, 1, model)
    writer.check()
    assert run.steps() == []
    threading.Timer(0.05, gate.set).start()
    begin(writer, 2, model)
    assert run.steps()[0] == 1
    writer.wait()
    assert run.steps() == [1, 2]


def test_pointers_follow_what_lies_on_the_disk(run, model):
    writer = CheckpointWriter(run, 2)
    for step, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3)):
        begin(writer, step, model, best)
        writer.wait()
        assert (run.pointer("latest"), run.pointer("best")) == (step, best)
    assert run.steps() == [3, 4, 5]


def test_best_never_points_at_what_is_gone(run, model):
    writer = CheckpointWriter(run, 2)
    begin(writer, 9, model, best=4)
    writer.wait()
    assert run.pointer("best") is None


def test_an_error_of_the_thread_is_raised_once_and_names_what_is_whole(run, model, monkeypatch):
    writer = CheckpointWriter(run, 2)
    begin(writer, 1, model)
    writer.wait()

    def refuse(*_: object) -> None:
        raise StorageError("cannot write it: the disk is full")

    monkeypatch.setattr(writer_module, "write_snapshot", refuse)
    begin(writer, 2, model)
    with pytest.raises(StorageError, match="the disk is full; checkpoint 1 is whole"):
        writer.wait()
    writer.check()
    writer.wait()
    begin(writer, 3, model)
    with pytest.raises(StorageError):
        begin(writer, 4, model)
    assert run.steps() == [1]
    assert run.pointer("latest") == 1


def test_any_error_of_the_thread_is_heard(run, model, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(writer_module, "prune", fail)
    writer = CheckpointWriter(run, 2)
    begin(writer, 1, model)
    with pytest.raises(ZeroDivisionError):
        writer.wait()


@pytest.mark.parametrize("error", [MemoryError("no copy"), RuntimeError("can't start new thread")])
def test_without_memory_for_a_thread_training_waits_for_the_write(run, model, monkeypatch, error):
    def refuse(_: threading.Thread) -> None:
        raise error

    writer = CheckpointWriter(run, 2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    begin(writer, 1, model)
    assert load_checkpoint(run, 1).step == 1
    writer.wait()


def test_events_lie_on_the_disk_before_the_checkpoint_that_goes_on_from_them(run, model, monkeypatch):
    asked = []
    monkeypatch.setattr(writer_module, "flush", lambda path: asked.append((path, run.steps())))
    writer = CheckpointWriter(run, 2)
    run.events_file.write_text('{"event": "started", "step": 0}\n', encoding="utf-8")
    begin(writer, 1, model)
    writer.wait()
    assert asked == [(run.events_file, [])]


def test_a_thread_that_writes_does_not_hold_up_the_end_of_the_process(run, model, gate):
    writer = CheckpointWriter(run, 2)
    begin(writer, 1, model)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "checkpoint")
    gate.set()
    writer.wait()
