"""GPT-2's smallest shape (124 M parameters) on a GPU: tokens per second, and the share of the card's matrix rate.

python benchmarks/gpu_steps.py [--nanogpt PATH] [--size 124M] [--optimizer adamw] [--corpus FILE] [--json]

The rate is measured in the same process: 8192 x 8192 x 8192 products in bfloat16. A step's operations are counted as
usual: 6 per token and parameter without the position table, 12 L C T per token for attention (Chowdhery et al. 2022,
"PaLM", appendix B), as if no mask hid half of it. The text is generated where none is given. Blocks of steps of each
side alternate, after one that warms up; a block is timed as a whole, for a GPU works on while it is told what is next.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nanogpt
import numpy as np
import torch
from machine import arguments, facts, show

from clearhead.config import RunConfig
from clearhead.runtime import Runtime
from clearhead.training.job import new_job
from clearhead.training.trainer import Trainer

BPE = {"tokenizer": "bpe", "vocab_size": 50_257}
SIZES: dict[str, dict[str, Any]] = {
    "10M": {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 256, "tokenizer": "char"},
    "124M": {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1_024, "batch_size": 32} | BPE,
    "1.5B": {"n_layer": 48, "n_head": 25, "n_embd": 1_600, "block_size": 1_024, "batch_size": 8} | BPE,
}
WORDS, LENGTH = 120_000, 3_000_000
"""Of the generated text: different words, and how many stand in it."""
BLOCKS, STEPS = 5, 20


def generated_text(seed: int = 1337) -> str:
    """Invented words of two to five syllables, the r-th as often as 1 / r, in lines of twelve."""
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "or", "is", "et")]
    words = ["".join(rng.choice(syllables, rng.integers(2, 6))) for _ in range(WORDS)]
    weights = 1 / np.arange(1, WORDS + 1)
    drawn = rng.choice(WORDS, LENGTH, p=weights / weights.sum())
    lines = (" ".join(words[i] for i in line) for line in drawn.reshape(-1, 12))
    return "\n".join(lines)


def bfloat16_rate(runtime: Runtime, size: int = 8_192, count: int = 20) -> float:
    """Floating-point operations per second of large products, on random numbers."""
    a, b = torch.randn(2, size, size, device=runtime.device, dtype=torch.bfloat16)
    for _ in range(3):
        torch.matmul(a, b)
    return 2 * size**3 * count / seconds_of(lambda: torch.matmul(a, b), count, runtime)


def seconds_of(action: Callable[[], object], count: int, runtime: Runtime) -> float:
    """Of so many calls together, until the device has done them."""
    runtime.synchronize()
    begun = time.perf_counter()
    for _ in range(count):
        action()
    runtime.synchronize()
    return time.perf_counter() - begun


@contextmanager
def ready_trainer(corpus: Path, size: str, optimizer: str) -> Iterator[Trainer]:
    """Our trainer of a size, compiled."""
    never = {"max_iters": 100_000, "eval_interval": 100_000, "save_interval": 100_000, "eval_iters": 1, "dev_iters": 0}
    flags = SIZES[size] | never | {"dropout": 0.0}
    flags |= {"optimizer": optimizer, "learning_rate": 6e-4, "min_lr": 6e-5, "weight_decay": 0.1, "compile": "on"}
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig.from_preset("gpt2").with_settings(flags)
        trainer = new_job(config, [str(corpus)], out=Path(folder)).trainer
        assert trainer is not None
        list(trainer._prepare())  # pyright: ignore[reportPrivateUsage]
        yield trainer


def operations_per_token(trainer: Trainer) -> float:
    """Of a forward and a backward pass."""
    config = trainer.config.architecture
    positions = trainer.train.block_size * config.n_embd
    counted = sum(weight.numel() for weight in trainer.model.parameters()) - positions
    return 6 * counted + 12 * config.n_layer * config.n_embd * trainer.train.block_size


def measure_sizes(checkout: Path | None) -> dict[str, Any]:
    """Every size by itself, the second beside nanoGPT and with Muon too."""
    asked = [("10M", "adamw", None), ("124M", "adamw", checkout), ("124M", "muon", None), ("1.5B", "adamw", None)]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "generated.txt"
        corpus.write_text(generated_text(), encoding="utf-8")
        return {f"{size}, {optimizer}": measure(corpus, beside, size, optimizer) for size, optimizer, beside in asked}


def measure(corpus: Path, checkout: Path | None, size: str, optimizer: str) -> dict[str, Any]:
    """Ours, and nanoGPT's model and loop beside it on the same batches where there is a checkout."""
    with ready_trainer(corpus, size, optimizer) as trainer:
        runtime, tokens = trainer.runtime, trainer.train.batch_size * trainer.train.block_size
        sides: dict[str, Callable[[], object]] = {"ours": trainer.step}
        if checkout is not None:
            shape = {name: SIZES[size][name] for name in ("n_layer", "n_head", "n_embd", "block_size")}
            theirs = nanogpt.build_model(checkout, trainer.model.vocab_size, shape | {"dropout": 0.0}, bias=True)
            theirs.to(runtime.device)
            sides["nanogpt"] = nanogpt.stepper(theirs, trainer, compiled=True)
        for step in sides.values():
            seconds_of(step, STEPS // 2, runtime)
        taken: dict[str, list[float]] = {side: [] for side in sides}
        rates = [bfloat16_rate(runtime)]
        for block in range(BLOCKS):
            for side in sorted(sides, reverse=block % 2 == 1):
                taken[side].append(seconds_of(sides[side], STEPS, runtime) / STEPS)
            rates.append(bfloat16_rate(runtime))
        rate, per_token = statistics.median(rates), operations_per_token(trainer)
        figures: dict[str, Any] = {"size": size, "parameters": trainer.model.num_parameters()}
        figures |= {"vocab_size": trainer.model.vocab_size, "batch_size": trainer.train.batch_size}
        figures |= {"optimizer": optimizer, "matrix_teraflops": round(rate / 1e12, 1)}
        for side, blocks in taken.items():
            seconds = statistics.median(blocks)
            figures[f"{side}_milliseconds_per_step"] = round(1e3 * seconds, 2)
            figures[f"{side}_tokens_per_second"] = round(tokens / seconds)
            figures[f"{side}_share_of_matrix_rate"] = round(per_token * tokens / seconds / rate, 3)
        if checkout is not None:
            ratios = [b / a for a, b in zip(taken["ours"], taken["nanogpt"], strict=True)]
            figures["tokens_per_second_over_theirs"] = round(statistics.median(ratios), 3)
        if runtime.device.type == "cuda":
            figures["peak_gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
            figures["gpu"] = torch.cuda.get_device_name()
    return figures


def main() -> int:
    parser = arguments("Training GPT-2's smallest shape on a GPU.")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--corpus", type=Path, help="a text whose BPE reaches GPT-2's vocabulary")
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--optimizer", default="adamw")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = chosen.corpus or Path(folder) / "generated.txt"
        if chosen.corpus is None:
            corpus.write_text(generated_text(), encoding="utf-8")
        figures = measure(corpus, chosen.nanogpt, chosen.size, chosen.optimizer)
    show({**figures, **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
