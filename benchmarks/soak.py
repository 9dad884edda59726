"""Hours of being killed: train, kill -9, resume, until the run is done; then every bit must be as if nothing happened.

python benchmarks/soak.py [--minutes 60] [--seed 1] [--json]

Every registered model with every registered optimizer is trained once without interruption. After that they are
trained again in turns, each time killed at random moments and resumed until done, as in tests/faults/test_kills.py,
with larger models and more steps. What is compared: the SHA-256 of weights, moments and mixtures, the pointers, the
configuration, and every event but for its clocks. Exit 1 when any differs. Linux only.
"""

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

from machine import arguments, facts, show

from clearhead.data.named import python_docs

HARNESS = Path(__file__).parents[1] / "tests" / "faults"
LARGER = {"n_embd": 32, "n_layer": 2, "block_size": 32, "batch_size": 8, "max_iters": 150, "eval_interval": 40}
MOST_KILLS = 6
"""Of one run."""
TEXT_CHARACTERS = 30_000


def soak(minutes: float, seed: int) -> dict[str, Any]:
    """Runs for about `minutes`, at least until one was killed; counts of what happened."""
    sys.path.insert(0, str(HARNESS))
    killing = import_module("killing")
    start, differing = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(python_docs()[1][:TEXT_CHARACTERS], encoding="utf-8")
        with killing.Trial(Path(folder), text, seed) as trial:
            for case in cycle(killing.cases()):
                if trial.counts["kills"] and time.monotonic() - start > minutes * 60:
                    break
                try:
                    trial.survive(replace(case, flags=LARGER | case.flags), MOST_KILLS)
                except AssertionError as error:
                    differing += 1
                    print(error, file=sys.stderr)
                for run in trial.out.glob("*-[0-9]*"):
                    shutil.rmtree(run)
            counts = dict(trial.counts)
    cycles, kills = counts.pop("runs"), counts.pop("kills")
    return {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "steps_of_a_run": LARGER["max_iters"],
        "cycles": cycles,
        "kills": kills,
        **{f"kills {where}": count for where, count in sorted(counts.items())},
        "differing": differing,
    }


def main() -> int:
    parser = arguments("Train, kill -9 and resume, again and again; the weights must not show it.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    chosen = parser.parse_args()
    counts = soak(chosen.minutes, chosen.seed)
    show({**counts, **facts()}, chosen.json)
    return 1 if counts["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
