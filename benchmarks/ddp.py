"""Two processes with one thread each beside one process with two threads: tokens per second at the same global batch.

python benchmarks/ddp.py [--rounds 3] [--steps 4] [--batch_size 64] [--json]

The GPT of the lecture's last size (10.6 million parameters, context 256, 64 windows a step) on a generated text, by the
command line as anybody would use it; the two kinds alternate, and the median step of each counts. Gradients are 42 MB a
step, summed by gloo over the loopback device while the backward pass goes on. Beside other programs both kinds lose,
and not alike: the spread of the ratios says how far to trust it.
"""

import argparse
import os
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path

from machine import clearhead, facts, show

from clearhead.data.grammar import grammar_text
from clearhead.runs.directory import RunDirectory

SIZE = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "preset": "modern"}
CHARACTERS = 60_000
KINDS = {"one process, two threads": ("1", "2"), "two processes, one thread": ("2", "1")}
"""Processes and threads."""


def tokens_per_second(folder: Path, text: Path, kind: str, chosen: argparse.Namespace) -> float:
    """The rate of a run's median step; the first one warms up."""
    processes, threads = KINDS[kind]
    flags = SIZE | {
        "max_iters": chosen.steps,
        "batch_size": chosen.batch_size,
        "eval_interval": 10_000,
        "eval_iters": 1,
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    by = ["--nproc", processes] if processes != "1" else []
    out = folder / f"runs-{len(os.listdir(folder))}"
    environment = {"OMP_NUM_THREADS": threads, "CLEARHEAD_CACHE": str(folder / "cache")}
    clearhead("train", str(text), "--out", str(out), "--name", "run", "--device", "cpu", *words, *by, env=environment)
    seconds = [e["seconds"] for e in RunDirectory(out / "run").read_events() if e["event"] == "stepped"]
    step = statistics.median(after - before for before, after in pairwise(seconds))
    return chosen.batch_size * SIZE["block_size"] / step


def measure(chosen: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder, text = Path(name), Path(name) / "text.txt"
        text.write_text(grammar_text()[:CHARACTERS], encoding="utf-8")
        (folder / "cache").mkdir()
        rounds = [{kind: tokens_per_second(folder, text, kind, chosen) for kind in KINDS} for _ in range(chosen.rounds)]
    one, two = KINDS
    ratios = [rates[two] / rates[one] for rates in rounds]
    return {
        "machine": facts(),
        "load": round(os.getloadavg()[0], 1),
        **{f"{kind}, tokens/s": round(statistics.median(rates[kind] for rates in rounds)) for kind in KINDS},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    show(measure(chosen), chosen.json)


if __name__ == "__main__":
    main()
