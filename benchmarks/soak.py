"""Hours of being killed: train, kill -9, resume, until the run is done; then every bit must be as if nothing happened.

python benchmarks/soak.py [--minutes 60] [--seed 1] [--json]

A small model is trained once without interruption. After that it is trained again and again, each time killed at
random moments (some before the first checkpoint, some while one is being written) and resumed until it is done.
Its last weights and moments are compared with the uninterrupted run's by SHA-256. Exit 1 when any differ.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import PYTHON, arguments, clearhead, environment, facts, show

from clearhead.data.named import python_docs
from clearhead.files import sha256_file
from clearhead.runs.directory import RunDirectory

FLAGS = {
    "n_embd": 32,
    "n_head": 2,
    "n_layer": 2,
    "block_size": 32,
    "batch_size": 8,
    "dropout": 0.1,
    "max_iters": 600,
    "eval_interval": 50,
    "eval_iters": 2,
    "save_interval": 20,
    "keep": 2,
    "device": "cpu",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Sums in a fixed order on any machine, however busy."""
TEXT_CHARACTERS = 30_000
KILLED = -9
SAFETENSORS = ("model.safetensors", "optimizer.safetensors")


class Soak:
    """One folder of runs, an uninterrupted one to compare with, and counts of what was done."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.out = folder / "runs"
        self.text = folder / "text.txt"
        self.text.write_text(python_docs()[1][:TEXT_CHARACTERS], encoding="utf-8")
        self.random = random.Random(seed)
        self.env = ONE_THREAD | {"CLEARHEAD_CACHE": str(folder / "cache")}
        self.counts: Counter[str] = Counter()
        clearhead(*self.train_words("whole"), env=self.env)
        self.whole = self.digests("whole")

    def train_words(self, name: str) -> list[str]:
        """The command that begins a run."""
        flags = [word for flag, value in FLAGS.items() for word in (f"--{flag}", str(value))]
        return ["train", str(self.text), "--out", str(self.out), "--name", name, *flags]

    def digests(self, name: str) -> list[str]:
        """SHA-256 of the last weights and moments of a run."""
        last = RunDirectory(self.out / name).checkpoint(FLAGS["max_iters"])
        return [sha256_file(last / file) for file in SAFETENSORS]

    def cycle(self) -> None:
        """One run, killed and resumed until it is done, and compared."""
        name = f"killed-{self.counts['cycles'] + 1}"
        run = RunDirectory(self.out / name)
        while not (run.path.exists() and run.steps()):
            if run.path.exists():  # killed before the first checkpoint: nothing to resume, so begin again
                self.counts["begun_again"] += 1
                run.path.rename(self.out / f"abandoned-{self.counts['begun_again']}")
            self.until_killed(self.train_words(name), run)
        while run.steps()[-1] < FLAGS["max_iters"]:
            self.counts["resumes"] += 1
            self.until_killed(["resume", str(run.path)], run)
        self.counts["cycles"] += 1
        self.counts["differing"] += self.digests(name) != self.whole

    def until_killed(self, words: Sequence[str], run: RunDirectory) -> None:
        """Run a verb and kill it at a random step, every second time at none; a failure of its own ends the soak."""
        step = self.random.randrange(2 * FLAGS["max_iters"])
        process = subprocess.Popen(
            [PYTHON, "-m", "clearhead", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(self.env),
        )
        while process.poll() is None and (not run.path.exists() or len(run.read_events()) < step):
            time.sleep(0.01)
        if process.poll() is None and step < FLAGS["max_iters"]:
            process.kill()
            self.counts["kills"] += 1
        _, told = process.communicate()
        if process.returncode not in (0, KILLED):
            raise SystemExit(f"{' '.join(words)} failed by itself: {told.decode(errors='replace')[-2_000:]}")


def soak(minutes: float, seed: int) -> dict[str, Any]:
    """Cycles for about `minutes`, at least until one run was killed; counts of what happened."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trial = Soak(Path(folder), seed)
        while not trial.counts["kills"] or time.monotonic() - start < minutes * 60:
            trial.cycle()
        counts = trial.counts
    return {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "steps_of_a_run": FLAGS["max_iters"],
        **{name: counts[name] for name in ("cycles", "kills", "resumes", "begun_again", "differing")},
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
