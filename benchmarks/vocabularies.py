"""Characters beside BPE: what the same processor time reaches on the same text, in bits per character.

    python benchmarks/vocabularies.py [--seconds 60] [--corpora shakespeare python-docs] [--seeds 1 2 3] [--json]

Every run has the same shape and the planner's schedule; how many steps fit into the time is counted off from the
processor time of a few in turns, on one thread: other programs on the machine change how long one waits, no more.
"""

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

from machine import arguments, facts, show

import clearhead
from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.runtime import choose_runtime
from clearhead.training.planner import DEV_STRETCH, FIRST_STRETCH, SHAPES, TOKENS_PER_STEP
from clearhead.training.weighing import build_model, make_step

TOKENIZERS = {
    "char": {"tokenizer": "char"},
    "bpe 512": {"tokenizer": "bpe", "vocab_size": 512},
    "bpe 4096": {"tokenizer": "bpe", "vocab_size": 4_096},
}
CORPORA, SEEDS, SECONDS = ("shakespeare", "python-docs"), (1, 2, 3), 60.0
SHAPE = {**SHAPES[1], "batch_size": TOKENS_PER_STEP["cpu"] // SHAPES[1]["block_size"]}
"""What the planner takes for a minute of two cores."""
PROBES = 13
RUNGS = ("ngram", "gpt", "mixture")


def measure(
    corpora: Sequence[str], names: Sequence[str], seconds: float, seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each run, as it is there; losses are bits per character of all validation text."""
    per_step = {corpus: seconds_per_step(corpus, names) for corpus in corpora}
    for seed in seeds:
        for corpus in corpora:
            for name in names:
                yield trained(corpus, name, seed, max(10, int(seconds / per_step[corpus][name])))


def seconds_per_step(corpus: str, names: Sequence[str]) -> dict[str, float]:
    """Processor seconds of a step with each tokenizer: medians over steps in turns."""
    steps: dict[str, Callable[[], None]] = {}
    for name in names:
        config = RunConfig.from_preset("modern").with_settings({**SHAPE, **TOKENIZERS[name], "device": "cpu"})
        model = build_model(config, prepare(config, [corpus]).tokenizer.vocab_size)
        optimizer = registry.resolve("optimizers", config.train.optimizer)(model, config.train)
        steps[name] = partial(make_step, model, optimizer, config.train, choose_runtime(config.train))
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(PROBES):
        for name, step in steps.items():
            begun = time.process_time()
            step()
            taken[name].append(time.process_time() - begun)
    return {name: statistics.median(seconds[2:]) for name, seconds in taken.items()}  # the first two warm up


def trained(corpus: str, name: str, seed: int, steps: int) -> dict[str, Any]:
    """What a run with the planner's schedule reached, and the processor seconds that it took."""
    schedule = {
        "max_iters": steps,
        "dev_iters": round(DEV_STRETCH * steps),
        "decay_iters": max(1, steps - math.ceil(FIRST_STRETCH * steps)),
        "warmup_iters": max(1, min(100, steps // 20)),
        "eval_interval": steps,
        "save_interval": steps,
        "eval_iters": 1,
    }
    settings = {**SHAPE, **schedule, **TOKENIZERS[name], "seed": seed, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        run = clearhead.train(corpus, out=folder, progress=False, **settings)
        seconds = time.process_time() - begun
        rungs = {rung.name: rung for rung in run.ladder().rungs}
        epochs = steps * SHAPE["batch_size"] * SHAPE["block_size"] / len(run.data.ids("train"))
    return {
        "corpus": corpus,
        "tokenizer": name,
        "seed": seed,
        "steps": steps,
        "parameters": rungs["gpt"].parameters,
        "epochs": round(epochs, 2),
        "processor_seconds": round(seconds, 1),
        **{name: round(rungs[name].bits_per_char, 4) for name in RUNGS},
    }


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, with the lowest and the highest."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["corpus"], row["tokenizer"]), []).append(row)
    return [
        {"corpus": corpus, "tokenizer": tokenizer, "seeds": len(runs), "epochs": runs[0]["epochs"]}
        | {name: _spread([run[name] for run in runs]) for name in RUNGS}
        for (corpus, tokenizer), runs in groups.items()
    ]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} .. {max(values):.3f})"


def main() -> int:
    parser = arguments("Characters beside BPE for the same processor time, in bits per character.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor seconds of each run's steps")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="files or named corpora")
    parser.add_argument("--tokenizers", nargs="+", default=list(TOKENIZERS), choices=list(TOKENIZERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    chosen = parser.parse_args()
    rows = []
    for row in measure(chosen.corpora, chosen.tokenizers, chosen.seconds, chosen.seeds):
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)  # after each: a failure later loses nothing
    if chosen.json:
        show({"runs": rows, "means": summary(rows), **facts()}, True)
        return 0
    for row in summary(rows):
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
