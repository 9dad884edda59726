"""FSDP2 on a GPU, over NCCL, in a group of one: what a part is made of, computed with, saved and read again."""

# torch documents its stores, but does not export them to type checkers.
# pyright: reportPrivateImportUsage=false

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from clearhead import registry
from clearhead.config import GPTConfig, TrainConfig
from clearhead.models.gpt import GPTLanguageModel
from clearhead.optim.sharded import whole
from clearhead.runs.checkpoint import optimizer_tensors, restore_optimizer
from clearhead.runs.sharded import read_moments, read_whole, save_parts
from clearhead.runtime import Runtime
from clearhead.training.parallel import Ranks, accumulating, compile_forward
from clearhead.training.sharding import clip_gradients, shard_model, whole_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

RUNTIME, ALONE = Runtime("cuda:0", "bfloat16"), Ranks(0, 1)


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("cpu:gloo,cuda:nccl", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.usefixtures("group")
def test_parts_on_a_gpu_learn_what_the_whole_learns(optimizer: str, compiled: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = GPTConfig(vocab_size=65, block_size=64, n_embd=64, n_head=2, n_layer=2, tie_weights=True)
    one, parts = GPTLanguageModel(config), GPTLanguageModel(config)
    parts.load_state_dict(one.state_dict())
    one.cuda()
    shard_model(parts, ALONE, RUNTIME)
    train = TrainConfig(optimizer=optimizer, grad_clip=0.5)
    x, y = torch.randint(65, (2, 8, 64), generator=torch.Generator().manual_seed(2)).cuda()
    losses = {}
    for model in (one, parts):
        made = registry.resolve("optimizers", optimizer)(model, train)
        forward, trouble = compile_forward(model, RUNTIME, (x[:4], y[:4])) if compiled else (model, None)
        assert trouble is None
        losses[model] = []
        for _ in range(6):
            for rows in (slice(0, 4), slice(4, 8)):
                with accumulating(forward, rows.start == 0), RUNTIME.autocast():
                    _, loss = forward(x[rows], y[rows])
                assert loss is not None
                (loss / 2).backward()
            norm = clip_gradients(model, train.grad_clip, ALONE)
            losses[model] += [float(loss.detach()), float(norm)]
            made.step()
            made.zero_grad(set_to_none=True)
    assert losses[parts] == pytest.approx(losses[one], rel=2e-2)
    assert losses[one][-2] < losses[one][0] - 0.1

    held = {**parts.state_dict(), **optimizer_tensors(made, parts)}  # pyright: ignore[reportPossiblyUnbound]
    save_parts(tmp_path, held)
    weights, moments = read_whole(tmp_path)
    assert {*weights, *moments} == {*held}
    copied = whole_model(parts, ALONE)
    assert copied is not None
    assert all(torch.equal(tensor, weights[name]) for name, tensor in copied.state_dict().items())
    again = registry.resolve("optimizers", optimizer)(parts, train)
    restore_optimizer(again, parts, read_moments(tmp_path, parts))
    for name, tensor in optimizer_tensors(again, parts).items():
        assert torch.equal(whole(tensor).cpu(), moments[name])
