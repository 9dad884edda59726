"""Seconds per training step, ours against nanoGPT's, with the same weights, batches, loss and updates.

python benchmarks/step_throughput.py --nanogpt PATH --corpus tinyshakespeare.txt [--train] [--json]

Both models start from nanoGPT's weights and see the same batches, so their losses must agree; the script stops
when they do not. Ours is timed through `Trainer.step()`, theirs through nanoGPT's own model and optimizer in the
loop of its train.py. Blocks of steps alternate (A B, B A, ...), so that a machine that warms up or is shared slows
both. With --train, nanoGPT's own train.py and `clearhead train` run whole, each in its own process, with the same
budget, and both models are scored on the same full validation split.
"""

import json
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
from machine import arguments, clearhead, facts, show
from nanogpt import SHAPE, TRAINING

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.training.events import Stepped
from clearhead.training.job import new_job
from clearhead.training.trainer import Trainer

SAME_LOSS = 0.02
"""Nats that two runs of the same maths may drift apart by the order of their sums."""


def ready_trainer(corpus: Path, out: Path, steps: int) -> Trainer:
    """Our trainer of nanoGPT's architecture, which neither evaluates nor saves within `steps`."""
    never = {"eval_interval": 10 * steps, "save_interval": 10 * steps}
    flags = SHAPE | TRAINING | never | {"qkv_bias": False, "bias": False, "max_iters": steps, "device": "cpu"}
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


def side_by_side(corpus: Path, checkout: Path, blocks: int = 50, steps: int = 8) -> dict[str, Any]:
    """Median seconds per step over alternating blocks, and the ratio between neighbours."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = ready_trainer(corpus, Path(folder), blocks * steps + 1)
        theirs = nanogpt.build_model(checkout, trainer.model.vocab_size)
        nanogpt.give_weights(theirs, trainer.model)
        step = {"ours": lambda: trainer.step().loss, "nanogpt": nanogpt.stepper(theirs, trainer)}
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
    """Figures from seconds by block and step. `ratio` is the median over pairs of neighbouring blocks."""
    our_median, their_median = (statistics.median(chain(*side)) for side in (ours, theirs))
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "ours_seconds_per_step": round(our_median, 5),
        "nanogpt_seconds_per_step": round(their_median, 5),
        "ratio": round(middle, 3),
        "half_of_the_ratios": f"{low:.3f} .. {high:.3f}",
        "steps_each": sum(map(len, ours)),
        "last_loss_ours": round(losses["ours"], 5),
        "last_loss_nanogpt": round(losses["nanogpt"], 5),
        "threads": torch.get_num_threads(),
    }


def train_ours(corpus: Path, max_iters: int, folder: Path, preset: str) -> dict[str, Any]:
    """`clearhead train` with the same budget: nanoGPT's architecture and rates (gpt2), or our own recipe (modern)."""
    flags = SHAPE | {"max_iters": max_iters, "device": "cpu", "preset": preset}
    if preset == "gpt2":
        flags |= TRAINING
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    if preset == "gpt2":
        words += ["--no_qkv_bias", "--no_bias"]
    told, seconds = clearhead("train", str(corpus), "--out", str(folder), "--json", *words)
    said = json.loads(told)
    return {
        "seconds": round(seconds, 1),
        "seconds_of_training": round(said["seconds"], 1),
        "val_nats_per_token": round(said["val_nats_per_token"], 4),
    }


def end_to_end(corpus: Path, checkout: Path, max_iters: int) -> dict[str, Any]:
    """Whole runs, one after another. nanoGPT learns from all training text, ours leaves the dev slice out."""
    prepared = prepare(RunConfig(), [str(corpus)])
    with tempfile.TemporaryDirectory() as folder:
        return {
            "max_iters": max_iters,
            "nanogpt": nanogpt.train(prepared, checkout, max_iters, Path(folder)),
            "ours_same_architecture": train_ours(corpus, max_iters, Path(folder), "gpt2"),
            "ours_default": train_ours(corpus, max_iters, Path(folder), "modern"),
        }


def main() -> int:
    parser = arguments("Seconds per training step, ours against nanoGPT's.")
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--corpus", type=Path, required=True, help="one text file")
    parser.add_argument("--blocks", type=int, default=50)
    parser.add_argument("--steps", type=int, default=8, help="steps in a block")
    parser.add_argument("--train", action="store_true", help="run both from end to end as well")
    parser.add_argument("--max_iters", type=int, default=2_000, help="steps of --train")
    chosen = parser.parse_args()
    figures = side_by_side(chosen.corpus, chosen.nanogpt, chosen.blocks, chosen.steps)
    if chosen.train:
        figures["end_to_end"] = end_to_end(chosen.corpus, chosen.nanogpt, chosen.max_iters)
    show({**figures, **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
