"""What `doctor --run` predicts is what happens: tensors and checkpoints to the percent, processes to a fifth."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.config import RunConfig
from clearhead.training import memory
from clearhead.training.draft import Draft, draft_run, read_text
from clearhead.training.fitting import size
from clearhead.training.footprint import (
    TYPICAL,
    Baseline,
    counting_bytes,
    most_counting,
    predict,
    rehearse,
    smaller,
)
from clearhead.training.job import new_job
from clearhead.training.memory import TensorMeter, free_memory, peak_resident, resident
from clearhead.training.running import run_job
from clearhead.training.weighing import weigh

ROOT = Path(__file__).parents[2]
TINY = {"n_embd": 32, "n_head": 2, "n_layer": 2, "block_size": 32, "batch_size": 8, "device": "cpu"}
BASELINE = Baseline(300_000_000, 310_000_000, measured=True)


def config_of(preset: str = "modern", model: str = "gpt", **settings: Any) -> RunConfig:
    shape = TINY if model != "bigram" else {"block_size": 32, "batch_size": 8, "device": "cpu"}
    return RunConfig.from_preset(preset, model).with_settings({**shape, **settings})


def drafted(config: RunConfig, text: Path) -> Draft:
    return draft_run(read_text(config, [str(text)]))


@pytest.mark.parametrize(
    "config",
    [
        config_of(),
        config_of(precision="float32"),
        config_of(precision="bfloat16", dropout=0.2),
        config_of(precision="float64"),
        config_of(accumulation=4),
        config_of("gpt2", optimizer="adamw"),
        config_of("gpt2", dropout=0.1, accumulation=2),
        config_of("lecture"),
        config_of(model="bigram"),
    ],
    ids=lambda c: f"{c.preset}-{c.model}-{c.train.precision}-{c.train.dropout:g}-{c.train.accumulation}",
)
def test_a_step_without_memory_takes_what_a_real_one_takes(config: RunConfig, poem: Path, tmp_path: Path) -> None:
    with TensorMeter() as meter:
        trainer = new_job(config, [str(poem)], out=tmp_path).trainer
        assert trainer is not None
        trainer.step()
        before = meter.live["cpu"]
        meter.forget_peak()
        trainer.step()
        taken = meter.peak["cpu"] - before
    predicted = weigh(config, trainer.tokenizer.vocab_size, trainer.runtime)
    batch = 2 * 8 * config.train.batch_size * config.train.block_size  # x and y of a real step come from numpy
    assert predicted.step.all == pytest.approx(taken, rel=0.03, abs=batch)
    assert predicted.parameters == trainer.model.num_parameters()
    assert predicted.gradients == sum(p.nbytes for p in trainer.model.parameters())
    moments = [value for state in trainer.optimizer.state.values() for value in state.values()]
    assert predicted.moments == sum(torch.as_tensor(value).nbytes for value in moments)
    assert torch.get_default_dtype() == torch.float32, "what was pretended is over"


def test_nothing_is_allocated_while_a_run_is_weighed() -> None:
    before = peak_resident()
    runtime = read_runtime()
    config = RunConfig().with_settings({"n_layer": 2, "n_head": 64, "n_embd": 8_192, "batch_size": 64})
    tensors = weigh(config, 65, runtime)
    assert tensors.weights > 5_000_000_000
    assert tensors.moments == pytest.approx(2 * tensors.weights, rel=0.01)
    if before is not None:
        assert (peak_resident() or 0) - before < 400_000_000


def read_runtime() -> Any:
    from clearhead.runtime import choose_runtime

    return choose_runtime(RunConfig().with_settings({"device": "cpu"}).train)


def test_the_meter_forgets_what_is_freed() -> None:
    with TensorMeter() as meter:
        kept = torch.zeros(1_000)
        view = kept[:10]
        torch.zeros(5_000).exp_()
        assert meter.live["cpu"] == 4_000
        assert meter.peak["cpu"] == meter.peak["cpu small"] == 24_000
        torch.zeros(9_000_000)
        assert (meter.peak["cpu large"], meter.live["cpu large"]) == (36_000_000, 0)
        del kept
        assert meter.live["cpu"] == 4_000, "a view keeps the whole"
        del view
        assert meter.live["cpu"] == 0


@pytest.mark.parametrize("model", ["gpt", "bigram", "mixture", "ngram"])
def test_checkpoints_are_as_large_as_predicted(model: str, poem: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_iters": 4, "eval_interval": 2, "save_interval": 1, "eval_iters": 1}
    config = config_of(model=model, **settings)
    predicted = predict(drafted(config, poem), BASELINE).disk
    job = new_job(config, [str(poem)], out=tmp_path)
    run_job(job)
    first = next(job.run.checkpoints.glob("step-*"))
    assert predicted.checkpoint == pytest.approx(folder_size(first), rel=0.05)
    mixture = folder_size(job.run.mixture)
    assert predicted.mixture == pytest.approx(mixture, rel=0.05)
    assert predicted.run >= folder_size(job.run.checkpoints)
    assert len(job.run.steps()) <= predicted.checkpoints <= config.train.keep + 2
    cached = Path(os.environ["CLEARHEAD_CACHE"], "tokens")
    assert predicted.tokens in {folder_size(folder, "*.bin") for folder in cached.iterdir()}


def folder_size(folder: Path, pattern: str = "*") -> int:
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file())


def test_phases_hold_what_they_must(poem: Path) -> None:
    draft = drafted(config_of(max_iters=10, eval_interval=2), poem)
    footprint = predict(draft, BASELINE)
    tensors = footprint.tensors
    assert tensors is not None
    least = BASELINE.now + 2 * (tensors.weights + tensors.moments) + tensors.step.all
    assert footprint.memory["training"] >= least
    assert footprint.memory["reading and counting"] == BASELINE.most
    assert footprint.peak == max(footprint.memory.values())
    assert footprint.device is None
    once = predict(
        replace(draft, config=draft.config.with_settings({"eval_interval": 10, "save_interval": 10})), BASELINE
    )
    assert once.copy == 0, "the only save is at the end, when no step is made"
    assert once.disk.checkpoints == 1


def test_more_of_anything_takes_more(poem: Path) -> None:
    draft = drafted(config_of(), poem)

    def peak(**settings: Any) -> int:
        return predict(replace(draft, config=config_of(**settings)), BASELINE).memory["training"]

    assert peak() < peak(n_layer=4) < peak(n_layer=4, batch_size=512)
    assert peak(n_layer=4, batch_size=512, accumulation=8) < peak(n_layer=4, batch_size=512)


def test_smaller_settings_come_in_order_and_take_less() -> None:
    config = config_of(batch_size=12)
    offered = list(smaller(config))
    assert offered[:3] == [{"accumulation": 2}, {"accumulation": 4}, {"accumulation": 12}]
    assert {"block_size", "n_layer", "n_embd"} & set(offered[-1])
    runtime = read_runtime()
    steps = [weigh(config.with_settings(settings), 65, runtime).step.all for settings in (offered[1], *offered[-2:])]
    assert steps == sorted(steps, reverse=True)
    assert not list(smaller(config_of(model="bigram", batch_size=1)))


def test_counting_is_bounded_before_it_is_tried(poem: Path) -> None:
    text = read_text(config_of(), [str(poem)])
    tokens = len(text.data.ids("counts"))
    assert counting_bytes(0, tokens) < counting_bytes(1_000, tokens) < most_counting(text)
    assert counting_bytes(30_000_000, 10**9) == counting_bytes(30_000_000, 10**8), "a text is read in pieces"


def test_memory_of_this_process_and_machine() -> None:
    now, most, free = resident(), peak_resident(), free_memory()
    if sys.platform == "linux":
        assert now is not None
        assert most is not None
        assert 50_000_000 < now <= most
    if sys.platform in ("linux", "darwin", "win32"):
        assert free is not None
        assert free > 0


def test_a_system_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(memory.Path, "read_text", refuse)
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(memory.os, "sysconf", refuse, raising=False)
    assert resident() is None
    assert peak_resident() is None
    if sys.platform != "win32":
        assert free_memory() is None
    assert rehearse(config_of(), read_runtime()) == Baseline(TYPICAL, TYPICAL, measured=False)


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 500\ninactive_file 150\n"}, 450),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": ""}, None),
        ({"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "1200", "memory.stat": "cache 5\n"}, 0),
        ({}, None),
    ],
)
def test_a_container_has_its_own_limit(
    files: dict[str, str], left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_text

    def read(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.is_relative_to("/sys/fs/cgroup"):
            if path.name not in files:
                raise FileNotFoundError
            return files[path.name]
        return real(path, *args, **kwargs)

    monkeypatch.setattr(memory.Path, "read_text", read)
    if sys.platform == "linux":
        everything = free_memory()
        assert everything is not None
        assert everything == left if left is not None else everything > 1_000


def test_sizes_are_said_in_units() -> None:
    assert [size(n) for n in (999, 9_999_999, 12_345_678, 45_600_000_000)] == ["0.0 MB", "10.0 MB", "12 MB", "45.6 GB"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak of a child")
@pytest.mark.parametrize("name", ["0.8 M", "10 M", "30 M", "0.8 M, mixture", "10 M, gpt2, dropout, 4 parts"])
def test_a_real_run_takes_what_was_predicted(name: str, shakespeare: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "footprint.py", "--corpus", shakespeare, "--only", name, "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert 0.8 < said["ratio"] < 1.2
    assert 0.95 < said["disk_ratio"] < 1.05
