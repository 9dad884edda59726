"""Seconds per training step, ours against nanoGPT's, with the same weights, batches, loss and updates.

python benchmarks/step_throughput.py --nanogpt PATH --corpus tinyshakespeare.txt [--json]

Both models start from nanoGPT's weights and see the same batches, so their losses must agree; the script stops
when they do not. Ours is timed through `Trainer.step()`, theirs through nanoGPT's own model and optimizer in the
loop of its train.py. Blocks of steps alternate (A B, B A, ...), so that a machine that warms up or is shared slows
both. Then a large step of ours alone, beside the matrix rate of the same process.
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import nanogpt
import torch
from machine import arguments, facts, show
from nanogpt import SHAPE, TRAINING

from clearhead.config import RunConfig
from clearhead.training.events import Stepped
from clearhead.training.job import new_job
from clearhead.training.pace import matrix_rate
from clearhead.training.trainer import Trainer

SAME_LOSS = 0.02
"""Nats that two runs of the same maths may drift apart by the order and the type of their sums."""
LARGE = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 64}


def ready_trainer(corpus: Path, out: Path, steps: int, precision: str, size: dict[str, Any]) -> Trainer:
    """Our trainer of nanoGPT's architecture, which neither evaluates nor saves within `steps`."""
    never = {"eval_interval": 10 * steps, "save_interval": 10 * steps, "eval_iters": 1}
    flags = SHAPE | TRAINING | never | size | {"qkv_bias": False, "bias": False, "max_iters": steps, "device": "cpu"}
    flags["precision"] = precision
    job = new_job(RunConfig.from_preset("gpt2").with_settings(flags), [str(corpus)], out=out)
    assert job.trainer is not None
    return job.trainer


def timed(step: Callable[[], float], count: int) -> tuple[list[float], float]:
    """Seconds of each of `count` steps, and the last loss."""
    seconds, loss = [], math.nan
    for _ in range(count):
        start = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - start)
    return seconds, loss


def side_by_side(corpus: Path, checkout: Path, precision: str, blocks: int = 50, steps: int = 8) -> dict[str, Any]:
    """Median seconds per step over alternating blocks, and the ratio between neighbours."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = ready_trainer(corpus, Path(folder), blocks * steps + 1, precision, {})
        theirs = nanogpt.build_model(checkout, trainer.model.vocab_size)
        nanogpt.give_weights(theirs, trainer.model)
        their_step = nanogpt.stepper(theirs, trainer)
        step = {"ours": lambda: trainer.step().figures()[0], "nanogpt": lambda: their_step().item()}
        next(event for event in trainer.events() if isinstance(event, Stepped))  # all that precedes step 1, and it
        step["nanogpt"]()
        seconds: dict[str, list[list[float]]] = {side: [] for side in step}
        losses: dict[str, float] = {}
        for block in range(blocks):
            for side in sorted(step, reverse=block % 2 == 0):
                block_seconds, losses[side] = timed(step[side], steps)
                seconds[side].append(block_seconds)
    if abs(losses["ours"] - losses["nanogpt"]) > SAME_LOSS:
        raise SystemExit(f"the two do not compute the same: losses {losses} after {blocks * steps + 1} steps")
    return compare(seconds["ours"], seconds["nanogpt"], losses)


def compare(ours: list[list[float]], theirs: list[list[float]], losses: dict[str, float]) -> dict[str, Any]:
    """Figures from seconds by block and step. The ratio is the median over pairs of neighbouring blocks."""
    our_median, their_median = (statistics.median(chain(*side)) for side in (ours, theirs))
    ratios = [statistics.median(b) / statistics.median(a) for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "ours_seconds_per_step": round(our_median, 5),
        "nanogpt_seconds_per_step": round(their_median, 5),
        "tokens_per_second_over_theirs": round(middle, 3),
        "half_of_the_ratios": f"{low:.3f} .. {high:.3f}",
        "steps_each": sum(map(len, ours)),
        "last_loss_ours": round(losses["ours"], 5),
        "last_loss_nanogpt": round(losses["nanogpt"], 5),
        "threads": torch.get_num_threads(),
    }


def share_of_matrix_rate(corpus: Path, precision: str, steps: int = 3) -> dict[str, Any]:
    """What share of the processor's best matrix rate a whole step of a 10.6 million parameter GPT makes."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = ready_trainer(corpus, Path(folder), steps + 1, precision, LARGE)
        trainer.optimizer.zero_grad()
        next(event for event in trainer.events() if isinstance(event, Stepped))
        seconds, _ = timed(lambda: trainer.step().figures()[0], steps)
        matrices = sum(weight.numel() for weight in trainer.model.parameters() if weight.ndim == 2)
        embeddings = trainer.model.get_parameter("position_embedding_table.weight").numel()
    tokens = LARGE["batch_size"] * LARGE["block_size"]
    attention = 12 * LARGE["n_layer"] * LARGE["n_embd"] * LARGE["block_size"] * tokens
    operations = 6 * (matrices - embeddings) * tokens + attention
    rate = matrix_rate(trainer.runtime)
    return {
        "seconds_per_step": round(min(seconds), 3),
        "gigaflops": round(operations / min(seconds) / 1e9),
        "matrix_gigaflops": round(rate / 1e9),
        "share": round(operations / min(seconds) / rate, 3),
    }


def measure(corpus: Path, checkout: Path) -> dict[str, Any]:
    """Both comparisons, in both types."""
    return {
        f"{name}_{precision}": figure(precision)
        for precision in ("float32", "bfloat16")
        for name, figure in (
            ("beside_nanogpt", lambda precision: side_by_side(corpus, checkout, precision)),
            ("share_of_matrix_rate", lambda precision: share_of_matrix_rate(corpus, precision)),
        )
    }


def main() -> int:
    parser = arguments("Seconds per training step, ours against nanoGPT's.")
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--corpus", type=Path, required=True, help="one text file")
    chosen = parser.parse_args()
    show({**measure(chosen.corpus, chosen.nanogpt), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
