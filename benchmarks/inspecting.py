"""What looking inside takes: the report of a run of the demo's size, attention on a long text. Linux and macOS.

python benchmarks/inspecting.py [--corpus FILE] [--repeat 3] [--json]

The demo's size is 4 layers, 4 heads, 128 wide, context 128, the preset `modern`. Its report is to take under 15 seconds
and 2 GB, and `inspect attention` on 1,024 characters under 3 seconds: by a run of the demo's size, which takes in the
last 128 of them, and by one whose context holds them all. Whole processes; what weights were learned is no matter here,
so the runs have made two steps.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import PYTHON, Process, arguments, command, facts, measured, show

SHAPE = "--preset modern --n_layer 4 --n_head 4 --n_embd 128"
SHORT = "--max_iters 2 --eval_interval 2 --eval_iters 1 --batch_size 4"
CONTEXTS = {"demo": 128, "long": 1_024}
"""Run -> tokens that it takes in."""
CHARACTERS = 1_024
IMPORT = "import time; start = time.perf_counter(); import torch; print(time.perf_counter() - start)"


def measure(corpus: str, text: str, repeat: int = 3) -> dict[str, Any]:
    """Medians of `repeat` processes of each view; `text` is what attention is shown the first of."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"CLEARHEAD_CACHE": str(folder / "cache")}
        runs = ("--out", str(folder / "runs"))
        for run, context in CONTEXTS.items():
            size = f"{SHAPE} {SHORT} --block_size {context} --name {run}"
            measured("train", corpus, *size.split(), *runs, "--json", env=env)
        looks = {
            "report": ("report", "demo", "--html", str(folder / "report.html")),
            **{
                f"attention, context of {context:,}": ("attention", text[:CHARACTERS], run)
                for run, context in CONTEXTS.items()
            },
        }
        taken: dict[str, list[Process]] = {what: [] for what in looks}
        imports = []
        for _ in range(repeat):
            imports.append(float(command([PYTHON, "-c", IMPORT])[0]))
            for what, words in looks.items():
                taken[what].append(measured("inspect", *words, *runs, env=env))
        page = (folder / "report.html").stat().st_size
    return {
        "characters": CHARACTERS,
        "report_page_mb": round(page / 1e6, 1),
        "import_of_torch_seconds": round(statistics.median(imports), 2),
        "repeat": repeat,
        "views": [_row(what, processes) for what, processes in taken.items()],
    }


def _row(what: str, processes: list[Process]) -> dict[str, Any]:
    seconds = [process.seconds for process in processes]
    return {
        "inspect": what,
        "seconds": round(statistics.median(seconds), 2),
        "longest": round(max(seconds), 2),
        "processor_seconds": round(statistics.median(process.processor_seconds for process in processes), 2),
        "peak_mb": round(max(process.peak for process in processes) / 1e6),
    }


def main() -> int:
    parser = arguments("Seconds and memory of inspections, whole processes.")
    parser.add_argument("--corpus", type=Path, required=True, help="a text file")
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    text = chosen.corpus.read_text(encoding="utf-8")
    show({**measure(str(chosen.corpus), text, chosen.repeat), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
