"""Memory that runs out: the batch is taken in smaller parts, said once each time, and stays so after a resume."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sabotage import TEXT, call
from safetensors.torch import load_file
from tiny_runs import SMALL, ending, leave_when, tiny_job

from clearhead.errors import OutOfMemoryError
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.runs.checkpoint import load_checkpoint
from clearhead.training.events import Notice, Stepped
from clearhead.training.job import Job, resume_job
from clearhead.training.running import run_job

ERRORS = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB\nlong story"),
    "cpu": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4096 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
    "python": MemoryError,
}


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch):
    monkeypatch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)


@pytest.fixture
def little_memory(monkeypatch):
    """Let a forward pass with gradients fail above so many rows, once so many have been made."""

    def holds(rows: int, error: str = "cpu", model: type[LanguageModel] = GPTLanguageModel, made: int = 0) -> None:
        forward, left = model.forward, [None] * made

        def bounded(self, idx, targets=None, cache=None):
            learns = self.training and targets is not None
            if learns and not left and idx.shape[0] > rows:
                raise ERRORS[error]()
            del left[-1 if learns else len(left) :]
            return forward(self, idx, targets, cache)

        monkeypatch.setattr(model, "forward", bounded)

    return holds


def notices(job: Job) -> list[str]:
    return [e["message"] for e in job.run.read_events() if e["event"] == "notice" and "out of memory" in e["message"]]


def parts(job: Job) -> list[int]:
    """The micro-batches that each checkpoint remembers."""
    return [load_checkpoint(job.run, step).state["micro_batches"] for step in job.run.steps()]


@pytest.mark.parametrize("error", ERRORS)
def test_a_batch_is_halved_until_it_fits(tmp_path, little_memory, error):
    settings = {"batch_size": 8, "dropout": 0.0, "precision": "float64"}
    whole = tiny_job(tmp_path / "whole", **settings)
    run_job(whole)
    little_memory(2, error)
    job = tiny_job(tmp_path / "little", **settings)
    assert run_job(job).reason == "done"
    assert [notice.partition(":")[0] for notice in notices(job)] == [
        "out of memory with 8 rows at a time",
        "out of memory with 4 rows at a time",
    ]
    assert all("with the same tokens per step" in notice for notice in notices(job))
    assert set(parts(job)) == {4}
    ours, theirs = (load_file(run.run.checkpoint(8) / "model.safetensors") for run in (job, whole))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-7, atol=1e-10)
    losses, wanted = (
        [event["loss"] for event in run.run.read_events() if event["event"] == "stepped"] for run in (job, whole)
    )
    assert losses == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_batches_that_do_not_divide_are_halved_too(tmp_path, little_memory, rows):
    little_memory(rows)
    job = tiny_job(tmp_path, batch_size=7, max_iters=4)
    assert run_job(job).reason == "done"
    assert len(notices(job)) == {1: 3, 3: 2, 5: 1}[rows]
    tokens = next(e["tokens_per_step"] for e in job.run.read_events() if e["event"] == "started")
    assert tokens == 7 * SMALL["block_size"]


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6, 7])
def test_a_halved_run_that_is_cut_ends_like_one_that_is_not(tmp_path, little_memory, stop):
    little_memory(2)
    whole, cut = (tiny_job(tmp_path / name) for name in ("whole", "cut"))
    run_job(whole)
    leave_when(cut, lambda event: isinstance(event, Stepped) and event.step == stop)
    assert run_job(resume_job(cut.run)).reason == "done"
    assert ending(cut.run) == ending(whole.run)
    assert len(notices(cut)) == 1, "told once, though a resume came between"


@pytest.mark.parametrize("which", [1, 2])
def test_a_kill_between_a_notice_and_its_step_tells_it_once(tmp_path, little_memory, which):
    little_memory(1)
    whole, cut = (tiny_job(tmp_path / name) for name in ("whole", "cut"))
    run_job(whole)
    seen = []
    leave_when(cut, lambda event: isinstance(event, Notice) and seen.append(event) is None and len(seen) == which)
    assert len(seen) == which
    run_job(resume_job(cut.run))
    assert ending(cut.run) == ending(whole.run)
    assert len(notices(cut)) == 2


def test_one_row_that_does_not_fit_ends_in_one_line(tmp_path, little_memory, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 20, encoding="utf-8")
    flags = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    little_memory(0, "cuda", made=6)
    said = call("train", text, "--out", tmp_path / "runs", "--name", "run", *flags)
    assert said.code == 1, said
    assert said.err.startswith("clearhead: out of memory: CUDA out of memory. Tried to allocate 20.00 MiB; ")
    assert said.err.count("\n") == 1
    assert "the last good step is" in said.err
    assert "try a smaller --block_size or --n_embd" in said.err
    assert "doctor --run" in said.err
    monkeypatch.undo()
    monkeypatch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    said = call("resume", tmp_path / "runs" / "run")
    assert said.code == 0, said


def test_an_error_that_has_nothing_to_do_with_memory_is_not_swallowed(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x16 and 8x16)")

    job = tiny_job(tmp_path)
    assert job.trainer is not None
    monkeypatch.setattr(job.trainer.model, "forward", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run_job(job)
    assert notices(job) == []


@pytest.mark.parametrize("where", ["evaluation", "update"])
def test_memory_that_runs_out_elsewhere_is_one_line_too(tmp_path, monkeypatch, where):
    job = tiny_job(tmp_path)
    assert job.trainer is not None

    def none(*_: object, **__: object) -> None:
        raise ERRORS["cpu"]()

    if where == "evaluation":
        monkeypatch.setattr("clearhead.training.judging.token_losses", none)
    else:
        monkeypatch.setattr(job.trainer.optimizer, "step", none)
    with pytest.raises(OutOfMemoryError, match=r"can't allocate memory.*nothing was saved yet.*smaller --block_size"):
        run_job(job)
    assert job.run.read_events()[-1]["event"] == "failed"


SHORT_OF_MEMORY = """
import resource, sys
sys.argv = ["clearhead"]
from clearhead.cli.main import main
from clearhead.training import trainer
events = trainer.Trainer.events
def bounded(self):
    pages = int(open("/proc/self/statm").read().split()[0])
    room = pages * resource.getpagesize() + int({room})
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    return events(self)
trainer.Trainer.events = bounded
sys.exit(main({words!r}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="address space is bounded by RLIMIT_AS on Linux")
@pytest.mark.parametrize(("room", "ends"), [(400e6, 0), (16e6, 1)])
def test_memory_that_really_runs_out(tmp_path: Path, room, ends):
    """64 rows of 512 tokens want more than a gigabyte for their logits and gradients; some parts of it fit."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 200, encoding="utf-8")
    shape = ("--n_embd", 64, "--n_head", 2, "--n_layer", 2, "--block_size", 512, "--batch_size", 64, "--device", "cpu")
    steps = ("--max_iters", 2, "--eval_interval", 100, "--eval_iters", 1, "--precision", "float32")
    words = ["train", text, "--out", tmp_path / "runs", "--name", "run", *shape, *steps]
    script = SHORT_OF_MEMORY.format(room=room, words=[str(word) for word in words])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CLEARHEAD_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=500)
    assert ended.returncode == ends, ended.stderr
    if ends:
        assert ended.stderr.startswith("clearhead: out of memory: ")
        assert ended.stderr.count("\n") == 1
    else:
        assert "out of memory with 64 rows at a time: from now on 32 at a time" in ended.stdout
