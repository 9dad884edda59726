"""Characters beside BPE: what the same time reaches on the same text, in bits per character.

    python benchmarks/vocabularies.py [--time 60s] [--corpora shakespeare python-docs] [--seeds 1 2 3] [--json]

Every run is `clearhead train TEXT --time BUDGET`, a process of its own with nothing cached: learning the tokenizer,
counting and planning are in its time. Runs of one seed follow one another, so that all tokenizers meet the same load
of the machine; means are over seeds.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from machine import arguments, clearhead, facts, show

TOKENIZERS = {
    "char": ("--tokenizer", "char"),
    "bpe 512": ("--tokenizer", "bpe", "--vocab_size", "512"),
    "bpe 4096": ("--tokenizer", "bpe", "--vocab_size", "4096"),
}
CORPORA, SEEDS, TIME = ("shakespeare", "python-docs"), (1, 2, 3), "60s"
RUNGS = ("ngram", "gpt", "mixture")


def measure(corpora: Sequence[str], asked: str, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each corpus, seed and tokenizer, as it is there; losses are bits per character of all validation."""
    for corpus in corpora:
        for seed in seeds:
            for name, flags in TOKENIZERS.items():
                yield {"corpus": corpus, "tokenizer": name, "seed": seed, **_run(corpus, asked, seed, flags)}


def _run(corpus: str, asked: str, seed: int, flags: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        words = ("train", corpus, *flags, "--time", asked, "--seed", str(seed), "--out", folder, "--json")
        told, seconds = clearhead(*words, env={"CLEARHEAD_CACHE": f"{folder}/cache"})
    said = json.loads(told)
    rungs = {rung["name"]: rung for rung in said["ladder"]["rungs"]}
    losses = {name: round(rungs[name]["bits_per_char"], 4) for name in RUNGS}
    sizes = {"parameters": rungs["gpt"]["parameters"], "context": rungs["gpt"]["context"], "steps": said["steps"]}
    return {"seconds": round(seconds, 1), **sizes, **losses}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, with the lowest and the highest."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["corpus"], row["tokenizer"]), []).append(row)
    return [
        {"corpus": corpus, "tokenizer": tokenizer, "seeds": len(runs)} | {name: _spread(runs, name) for name in RUNGS}
        for (corpus, tokenizer), runs in groups.items()
    ]


def _spread(runs: Sequence[dict[str, Any]], name: str) -> str:
    values = [run[name] for run in runs]
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} .. {max(values):.3f})"


def main() -> int:
    parser = arguments("Characters beside BPE for the same time, in bits per character.")
    parser.add_argument("--time", default=TIME, help="the budget of each run, as --time takes it")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="files or named corpora")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    chosen = parser.parse_args()
    rows = []
    for row in measure(chosen.corpora, chosen.time, chosen.seeds):
        rows.append(row)
        print(", ".join(f"{name} {value}" for name, value in row.items()), file=sys.stderr, flush=True)
    if chosen.json:
        show({"runs": rows, "means": summary(rows), **facts()}, True)
        return 0
    for row in summary(rows):
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
