"""What only a GPU can show: that a step waits for nothing. Skipped by name where there is none."""

import pytest
import torch

from clearhead.config import RunConfig
from clearhead.training.events import Stepped
from clearhead.training.job import new_job

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "dropout": 0.1, "accumulation": 2}])
def test_no_step_waits_for_the_device(poem, tmp_path, settings):
    small = {"n_embd": 32, "n_head": 2, "n_layer": 2, "block_size": 32, "batch_size": 8, "max_iters": 40}
    rarely = {"eval_interval": 1_000, "save_interval": 1_000, "compile": "off", "device": "cuda"}
    config = RunConfig.from_preset("modern").with_settings({**small, **rarely, **settings})
    trainer = new_job(config, [str(poem)], out=tmp_path).trainer
    assert trainer is not None
    steps = (event for event in trainer.events() if isinstance(event, Stepped))
    for _ in range(3):  # what is made once: kernels, moments
        next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert [next(steps).step for _ in range(10)] == list(range(4, 14))
    finally:
        torch.cuda.set_sync_debug_mode("default")
