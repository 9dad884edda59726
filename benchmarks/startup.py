"""How long it takes before anything happens: `clearhead --help`, `import clearhead`, the import with torch.

python benchmarks/startup.py [--repeat 10] [--json]
"""

import statistics
import sys
from typing import Any

from machine import PYTHON, arguments, clearhead, command, facts, show

IMPORT = """
import sys, time
start = time.perf_counter()
import clearhead
if {touch}: clearhead.train
print(time.perf_counter() - start, "torch" in sys.modules)
"""


def import_seconds(*, with_torch: bool) -> float:
    """Seconds of `import clearhead` in a fresh interpreter; SystemExit when torch comes along uninvited."""
    told, _ = command([PYTHON, "-c", IMPORT.format(touch=with_torch)])
    seconds, loaded = told.split()
    if loaded != str(with_torch):
        raise SystemExit(f"torch loaded: {loaded}, expected: {with_torch}")
    return float(seconds)


def measure(repeat: int = 10) -> dict[str, Any]:
    """Medians of `repeat` fresh processes each."""
    helps, bare, full = [], [], []
    for _ in range(repeat):
        helps.append(clearhead("--help")[1])
        bare.append(import_seconds(with_torch=False))
        full.append(import_seconds(with_torch=True))
    return {
        "help_seconds": round(statistics.median(helps), 3),
        "import_milliseconds": round(statistics.median(bare) * 1e3, 1),
        "import_with_torch_milliseconds": round(statistics.median(full) * 1e3, 1),
        "repeat": repeat,
    }


def main() -> int:
    parser = arguments("Start-up times, medians of fresh processes.")
    parser.add_argument("--repeat", type=int, default=10)
    chosen = parser.parse_args()
    show({**measure(chosen.repeat), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
