"""A run on a GPU from its text to what it says: the same figures as on the CPU, and nothing lost where memory ends."""

from pathlib import Path
from typing import Any

import pytest
import torch

import clearhead
from clearhead.config import GPTConfig, RunConfig
from clearhead.generation.generate import generate
from clearhead.models.gpt import GPTLanguageModel
from clearhead.training.events import Notice
from clearhead.training.job import new_job, resume_job

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

SMALL: dict[str, Any] = {"n_embd": 32, "n_head": 2, "n_layer": 2, "block_size": 32, "batch_size": 8}
FEW: dict[str, Any] = {"max_iters": 60, "eval_interval": 20, "warmup_iters": 5, "progress": False}


@pytest.mark.parametrize("preset", ["lecture", "gpt2", "modern"])
def test_the_losses_are_those_of_the_cpu(poem: Path, tmp_path: Path, preset: str) -> None:
    ours = [
        clearhead.train(
            str(poem), out=tmp_path, preset=preset, precision="float32", compile="off", device=device, **SMALL, **FEW
        )
        for device in ("cuda", "cpu")
    ]
    found, expected = ([rung.bits_per_char for rung in run.ladder().rungs] for run in ours)
    assert found == pytest.approx(expected, rel=2e-2)
    assert ours[0].runtime.device.type == "cuda"


@pytest.mark.parametrize("model", ["bigram", "gpt", "mixture"])
def test_a_run_in_bfloat16_learns_speaks_and_is_looked_into(poem: Path, tmp_path: Path, model: str) -> None:
    settings = {**SMALL, **FEW, "max_iters": 150} if model != "bigram" else {"max_iters": 150, "progress": False}
    run = clearhead.train(str(poem), out=tmp_path, model=model, device="cuda", precision="bfloat16", **settings)
    rungs = {rung.name: rung.bits_per_char for rung in run.ladder().rungs}
    assert rungs[model] < rungs["uniform"]
    assert run.generate("the ", max_new_tokens=40, seed=1) == run.generate("the ", max_new_tokens=40, seed=1)


@pytest.mark.parametrize("vocab_size", [65, 192, 1_003])
def test_a_vocabulary_of_any_size_gives_the_losses_of_the_cpu(vocab_size: int) -> None:
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(vocab_size=vocab_size, **{k: v for k, v in SMALL.items() if k != "batch_size"}))
    torch.nn.init.normal_(model.lm_head.weight)
    x, y = torch.randint(vocab_size, (2, 4, 32))
    logits, loss = model(x, y)
    assert loss is not None
    loss.backward()
    gradient = model.lm_head.weight.grad
    model.zero_grad()
    there, loss_there = model.cuda()(x.cuda(), y.cuda())
    assert loss_there is not None
    loss_there.backward()
    assert there.shape == logits.shape
    torch.testing.assert_close(loss_there.cpu(), loss, rtol=1e-4, atol=1e-4)
    assert model.lm_head.weight.grad is not None
    assert gradient is not None
    torch.testing.assert_close(model.lm_head.weight.grad.cpu(), gradient, rtol=1e-2, atol=1e-4)


def test_cached_is_uncached_there_too() -> None:
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(vocab_size=65, **{k: v for k, v in SMALL.items() if k != "batch_size"}))
    torch.nn.init.normal_(model.lm_head.weight)
    idx = torch.randint(65, (3, 10))
    said = [generate(model.to(device).eval(), idx.to(device), 20, temperature=0.0).cpu() for device in ("cpu", "cuda")]
    assert said[0].tolist() == said[1].tolist()


def test_a_resumed_run_goes_on_where_it_stood(poem: Path, tmp_path: Path) -> None:
    config = RunConfig.from_preset("modern").with_settings(
        {**SMALL, "max_iters": 40, "eval_interval": 20, "save_interval": 20, "device": "cuda", "compile": "off"}
    )
    trainer = new_job(config, [str(poem)], out=tmp_path).trainer
    assert trainer is not None
    for _ in trainer.events():
        if trainer.progress.step == 20:
            trainer.request_stop()
    resumed = resume_job(trainer.run).trainer
    assert resumed is not None
    assert resumed.progress.step == trainer.progress.step < 40
    list(resumed.events())
    assert resumed.progress.step == 40


def test_where_memory_ends_the_batch_comes_in_smaller_parts(poem: Path, tmp_path: Path) -> None:
    shape = {"n_embd": 256, "n_head": 4, "n_layer": 4, "block_size": 256, "batch_size": 256}
    rarely = {"max_iters": 3, "eval_interval": 100, "eval_iters": 1, "compile": "off", "device": "cuda"}
    config = RunConfig.from_preset("modern").with_settings({**shape, **rarely})
    trainer = new_job(config, [str(poem)], out=tmp_path).trainer
    assert trainer is not None
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.5e9 / total)
    try:
        told = [event.message for event in trainer.events() if isinstance(event, Notice)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.progress.step == 3
    assert trainer.progress.micro_batches > 1
    assert any("out of memory with 256 rows at a time" in line for line in told)
