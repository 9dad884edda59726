"""What `clearhead train TEXT --time BUDGET` reaches, and nanoGPT's recipe for a CPU given the same wall time.

    python benchmarks/budgets.py --times 60s 2m [--corpora shakespeare] [--seeds 1337] [--nanogpt PATH] [--json]

Every run is a process of its own, with nothing cached: start, reading, planning, training, mixture and ladder are in
its time. nanoGPT's steps are counted off beforehand: a short run of train.py says what starting and one step take, and
its schedule ends where the time ends. Its model is scored on our full split, outside of its time.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nanogpt
from machine import arguments, clearhead, facts, show

from clearhead.config import RunConfig
from clearhead.data.prepare import Prepared, prepare
from clearhead.training.budget import parse_time

TIMES, CORPORA, SEEDS = ("60s", "2m"), ("shakespeare",), (1337,)
DOCUMENTS = {"names": {"lines": True}}
"""How a corpus is read where the default would be wrong."""
PACE_STEPS = 150
"""More than its warm-up takes: its schedule divides by the difference."""
RUNGS = ("ngram", "gpt", "mixture")


def measure(
    times: Sequence[str], corpora: Sequence[str], seeds: Sequence[int], checkout: Path | None
) -> list[dict[str, Any]]:
    """A row for each corpus, budget and seed; losses are nats per token over the full validation split."""
    return [row(corpus, asked, seed, checkout) for corpus in corpora for asked in times for seed in seeds]


def row(corpus: str, asked: str, seed: int, checkout: Path | None) -> dict[str, Any]:
    budget = parse_time(asked)
    flags = [word for name, value in DOCUMENTS.get(corpus, {}).items() if value for word in (f"--{name}",)]
    with tempfile.TemporaryDirectory() as folder:
        words = ("train", corpus, *flags, "--time", asked, "--seed", str(seed), "--out", folder, "--json")
        told, seconds = clearhead(*words, env={"CLEARHEAD_CACHE": f"{folder}/cache"})
    said = json.loads(told)
    losses = {rung["name"]: rung for rung in said["ladder"]["rungs"]}
    figures = {
        "corpus": corpus,
        "time": asked,
        "seed": seed,
        "seconds": round(seconds, 1),
        "of_the_budget": round(seconds / budget, 3),
        "steps": said["steps"],
        "parameters": losses["gpt"]["parameters"],
        **{name: round(losses[name]["nats_per_token"], 4) for name in RUNGS},
    }
    if checkout is not None:
        figures |= _nanogpt(corpus, budget, checkout)
    return figures


def _nanogpt(corpus: str, budget: float, checkout: Path) -> dict[str, Any]:
    start, per_step = _pace(corpus, checkout)
    with tempfile.TemporaryDirectory() as folder:
        steps = max(1, int((budget - start) / per_step))
        told = nanogpt.train(_prepared(corpus), checkout, steps, Path(folder))
    return {"nanoGPT": told["val_nats_per_token"], "its_seconds": told["seconds"], "its_steps": steps}


@cache
def _prepared(corpus: str) -> Prepared:
    return prepare(RunConfig().with_settings(DOCUMENTS.get(corpus, {})), [corpus])


@cache
def _pace(corpus: str, checkout: Path) -> tuple[float, float]:
    """Seconds that train.py takes besides its steps, and for each step with its share of the evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        told = nanogpt.train(_prepared(corpus), checkout, PACE_STEPS, Path(folder))
    per_step = told["median_seconds_per_step"]
    evaluating = 2 * 20 * per_step / 3  # batches of both splits, forward only; one evaluation every 250 steps
    return told["seconds"] - PACE_STEPS * per_step, per_step + evaluating / 250


def main() -> int:
    parser = arguments("What a time budget reaches, and nanoGPT in the same time.")
    parser.add_argument("--times", nargs="+", default=TIMES, help="budgets, as --time takes them")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="files or named corpora")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, to run for the same time")
    chosen = parser.parse_args()
    for asked in chosen.times:
        parse_time(asked)
    rows = measure(chosen.times, chosen.corpora, chosen.seeds, chosen.nanogpt)
    if chosen.json:
        show({"runs": rows, **facts()}, True)
        return 0
    for figures in rows:
        print(", ".join(f"{name} {value}" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
