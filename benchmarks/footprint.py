"""What `clearhead doctor --run` predicts, beside what the same `clearhead train` then takes. Linux and macOS.

python benchmarks/footprint.py [--corpus FILE] [--only "0.8 M"] [--json]
"""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from machine import arguments, facts, measured, show

SHORT = "--max_iters 4 --eval_interval 2 --save_interval 2 --eval_iters 1"
MIDDLE = "--n_layer 6 --n_head 6 --n_embd 384 --block_size 256"
RUNS = {
    "0.8 M": "",
    "10 M": f"{MIDDLE} --batch_size 16",
    "30 M": "--n_layer 8 --n_head 9 --n_embd 576 --block_size 256 --batch_size 8",
    "10 M, gpt2, dropout, 4 parts": f"--preset gpt2 {MIDDLE} --batch_size 32 --accumulation 4 --dropout 0.2",
    "10 M, lecture, float32": f"--preset lecture {MIDDLE} --batch_size 8 --precision float32",
    "0.8 M, mixture": "--model mixture",
    "0.8 M, mixture of words": "--model mixture --tokenizer word",
    "bigram": "--model bigram",
    "ngram": "--model ngram",
}
"""Name -> flags beside `SHORT`."""


def measure(corpus: str, names: Iterable[str] = RUNS) -> Iterator[dict[str, Any]]:
    """A record of predicted and measured figures for each of the runs."""
    return (_beside(name, corpus) for name in names)


def _beside(name: str, corpus: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        words = [corpus, *SHORT.split(), *RUNS[name].split(), "--out", str(Path(folder) / "runs"), "--json"]
        env = {"CLEARHEAD_CACHE": str(Path(folder) / "cache")}
        said = json.loads(measured("doctor", "--run", *words, env=env).told)
        trained = measured("train", *words, env=env)
        run = Path(json.loads(trained.told)["run"])
        checkpoint = next((run / "checkpoints").glob("step-*"))
        memory, disk = said["memory"]["peak"], said["disk"]["checkpoint"] + said["disk"]["mixture"]
        taken = _size(checkpoint) + _size(run / "checkpoints" / "mixture")
    peak = trained.peak
    return {
        "run": name,
        "memory_predicted_mb": round(memory / 1e6),
        "measured_mb": round(peak / 1e6),
        "ratio": round(memory / peak, 3),
        "checkpoint_predicted_mb": round(disk / 1e6, 2),
        "checkpoint_mb": round(taken / 1e6, 2),
        "disk_ratio": round(disk / taken, 4),
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> int:
    parser = arguments("Predicted beside measured memory and disk of runs.")
    parser.add_argument("--corpus", default="python-docs", help="a text")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), help="these runs only")
    chosen = parser.parse_args()
    for row in measure(chosen.corpus, chosen.only or RUNS):
        show({**row, **facts()} if chosen.json else row, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
