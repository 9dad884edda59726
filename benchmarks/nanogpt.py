"""nanoGPT from a checkout, in the shape that is compared: its model, its optimizer, its train.py, its loss."""

import contextlib
import importlib.util
import io
import pickle
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from machine import PYTHON, command
from torch import Tensor, nn

from clearhead.data.prepare import Prepared
from clearhead.data.tokens import TokenDataset
from clearhead.optim.schedules import learning_rate
from clearhead.training.trainer import Trainer

SHAPE = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "dropout": 0.0}
TRAINING = {"batch_size": 12, "learning_rate": 1e-3, "min_lr": 1e-4, "beta2": 0.99, "warmup_iters": 100}
OUR_NAMES = (
    ("transformer.wte", "token_embedding_table"),
    ("transformer.wpe", "position_embedding_table"),
    ("transformer.ln_f", "ln_f"),
    ("transformer.h", "blocks"),
    ("ln_1", "ln1"),
    ("ln_2", "ln2"),
    ("attn.c_attn", "sa.qkv"),
    ("attn.c_proj", "sa.proj"),
    ("mlp.c_fc", "ffwd.up"),
    ("mlp.c_proj", "ffwd.proj"),
)


def build_model(
    checkout: Path, vocab_size: int, shape: Mapping[str, Any] = MappingProxyType(SHAPE), bias: bool = False
) -> nn.Module:
    """A fresh GPT of nanoGPT's."""
    module = load_module(checkout)
    with contextlib.redirect_stdout(io.StringIO()):
        return module.GPT(module.GPTConfig(**shape, vocab_size=vocab_size, bias=bias))


def load_module(checkout: Path) -> ModuleType:
    source = checkout / "model.py"
    spec = importlib.util.spec_from_file_location("nanogpt_model", source)
    if not source.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"{checkout} holds no model.py; name a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def give_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Start ours from their weights: other names, the same order inside the packed matrices."""
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in OUR_NAMES:
            name = name.replace(old, new)
        tensors[name] = tensor.clone()
    ours.load_state_dict({name: tensors[name] for name in ours.state_dict()})


def stepper(model: Any, trainer: Trainer, compiled: bool = False) -> Callable[[], Tensor]:
    """A call that makes one step as train.py does, on the trainer's batches and schedule, and returns its loss ()."""
    train, runtime = trainer.train, trainer.runtime
    forward = torch.compile(model) if compiled else model
    on_cpu = runtime.device.type == "cpu"  # where train.py leaves bfloat16 out
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = model.configure_optimizers(
            train.weight_decay, train.learning_rate, (train.beta1, train.beta2), runtime.device.type
        )
    done = 0

    def step() -> Tensor:
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(done, train)
        x, y = trainer.data.get_batch(
            "train", done, batch_size=train.batch_size, block_size=train.block_size, seed=train.seed
        )
        with contextlib.nullcontext() if on_cpu else runtime.autocast():
            _, loss = forward(x.to(runtime.device), y.to(runtime.device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done += 1
        return loss.detach()

    return step


def train(prepared: Prepared, checkout: Path, max_iters: int, folder: Path) -> dict[str, Any]:
    """Its own train.py, whole, in a process of its own; its model scored on our full split."""
    vocab_size = prepared.tokenizer.vocab_size
    model = build_model(checkout, vocab_size)
    _write_data(prepared.data, vocab_size, folder)
    flags = SHAPE | TRAINING | {"max_iters": max_iters, "lr_decay_iters": max_iters}
    flags |= {"eval_interval": min(250, max_iters), "eval_iters": 20, "log_interval": 1}
    flags |= {"gradient_accumulation_steps": 1, "device": "cpu", "compile": False, "dtype": "float32"}
    paths = {"dataset": folder.resolve(), "out_dir": folder.resolve() / "out"}
    words = [f"--{name}={value}" for name, value in {**flags, **paths}.items()]
    told, seconds = command([PYTHON, str(checkout.resolve() / "train.py"), *words], cwd=checkout)
    model.load_state_dict(torch.load(folder / "out" / "ckpt.pt", weights_only=True)["model"])
    model.eval()
    per_step = [float(found) / 1e3 for found in re.findall(r"time ([\d.]+)ms", told)]
    return {
        "seconds": round(seconds, 1),
        "median_seconds_per_step": round(statistics.median(per_step), 5),
        "val_nats_per_token": round(full_split_loss(lambda x, y: model(x, y)[1], prepared.data), 4),
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }


def _write_data(data: TokenDataset, vocab_size: int, folder: Path) -> None:
    """Our split and ids where train.py looks for its own; it may learn from the dev slice too."""
    for split, file in (("counts", "train.bin"), ("val", "val.bin")):
        data.ids(split).astype("<u2").tofile(folder / file)
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": vocab_size}))


@torch.no_grad()
def full_split_loss(loss_of: Callable[[Tensor, Tensor], Tensor], data: TokenDataset) -> float:
    """Nats per token over every validation token but the first, in windows of the block: the ladder's rule.

    `loss_of` gives a foreign model's mean loss on x, y (B, T).
    """
    nats, tokens = 0.0, 0
    for x, y in data.windows("val", int(SHAPE["block_size"]), 64):
        nats, tokens = nats + loss_of(x, y).item() * y.numel(), tokens + y.numel()
    return nats / tokens
