"""What saving costs a run of about 10 million parameters: a save in the middle of steps, against the same steps alone.

python benchmarks/saving.py [--steps 6] [--repeat 7] [--json]

In one process stretches of steps alternate: undisturbed, with Clearhead's save begun at the first step (a copy, and
a thread that hashes, flushes and renames), and with what one would write instead, `torch.save` of weights and
optimizer in the loop, without a flush to the disk. What a save costs in wall time is the median over neighbouring
stretches of the difference in their time. Other programs blur that; so a save is also made while no step is, and its
processor time counted: the trainer waits for nothing else, for the disk is waited for in the thread. The shares, of
`save_interval` steps and of a minute, take all of it for lost, on however many cores it ran.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import arguments, facts, show

from clearhead.config import RunConfig
from clearhead.data.named import PYTHON_DOCS
from clearhead.runs.checkpoint import optimizer_tensors
from clearhead.training.job import Job, new_job

FLAGS = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 128, "batch_size": 12, "max_iters": 100_000}
OPTIMIZERS = ("muon", "adamw")
MINUTE = 60.0


class Stretches:
    """A job whose steps are made by hand, some with a save."""

    def __init__(self, folder: Path, corpus: str, optimizer: str, steps: int) -> None:
        config = RunConfig.from_preset("modern").with_settings({**FLAGS, "optimizer": optimizer, "keep": 2})
        self.job: Job = new_job(config, [corpus], out=folder / "runs")
        assert self.job.trainer is not None
        self.trainer, self.steps, self.aside = self.job.trainer, steps, folder / f"{optimizer}.pt"
        for _ in range(2):
            self.trainer.step()  # the moments are there from now on

    @property
    def parameters(self) -> int:
        return self.trainer.model.num_parameters()

    @property
    def megabytes(self) -> float:
        """Of a checkpoint."""
        newest = self.job.run.checkpoint(self.job.run.steps()[-1])
        return sum(file.stat().st_size for file in newest.iterdir()) / 1e6

    def seconds(self, save: Callable[[], None]) -> float:
        """Of the steps and a save begun after the first, to the end of both."""
        begun = time.perf_counter()
        for number in range(self.steps):
            self.trainer.step()
            if number == 0:
                save()
        self.trainer.saver.writer.wait()
        return time.perf_counter() - begun

    def processor_seconds(self, save: Callable[[], None]) -> float:
        """Of a save and of the thread that writes, while nothing else is done."""
        self.trainer.step()
        begun = time.process_time()
        save()
        self.trainer.saver.writer.wait()
        return time.process_time() - begun

    def nothing(self) -> None:
        """Save nothing."""

    def ours(self) -> None:
        """Look at every weight and begin a checkpoint, as the trainer does."""
        saver, progress = self.trainer.saver, self.trainer.progress
        assert saver.finite()
        for _ in saver.save(progress, 0.0, scheduled=True):
            pass

    def torch_save(self) -> None:
        """The usual way."""
        optimizer = optimizer_tensors(self.trainer.optimizer, self.trainer.model)
        torch.save({"model": self.trainer.model.state_dict(), "optimizer": optimizer}, self.aside)


def measure(corpus: str, steps: int, repeat: int) -> dict[str, Any]:
    """A row of figures for each optimizer."""
    rows = []
    for optimizer in OPTIMIZERS:
        with tempfile.TemporaryDirectory() as folder:
            stretches = Stretches(Path(folder), corpus, optimizer, steps)
            ways = (stretches.nothing, stretches.ours, stretches.torch_save)
            times = [[stretches.seconds(way) for way in ways] for _ in range(repeat)]
            busy = [statistics.median(stretches.processor_seconds(way) for _ in range(repeat)) for way in ways[1:]]
            rows.append(row(optimizer, stretches, times, busy))
            stretches.job.release()
    return {"steps_of_a_stretch": steps, "stretches": repeat, "runs": rows}


def row(optimizer: str, stretches: Stretches, times: list[list[float]], busy: list[float]) -> dict[str, Any]:
    """The figures of an optimizer: from times alone, with our save, with torch.save; from both in processor time."""
    step = statistics.median(alone for alone, _, _ in times) / stretches.steps
    save, theirs = (statistics.median(each[way] - each[0] for each in times) for way in (1, 2))
    interval = RunConfig().train.save_interval
    return {
        "optimizer": optimizer,
        "parameters": stretches.parameters,
        "checkpoint_mb": round(stretches.megabytes, 1),
        "step_seconds": round(step, 3),
        "save_seconds": round(save, 3),
        "save_processor_seconds": round(busy[0], 3),
        f"share_every_{interval}_steps": percent(busy[0], interval * step),
        "share_each_minute": percent(busy[0], MINUTE),
        "torch_save_seconds": round(theirs, 3),
        "torch_save_processor_seconds": round(busy[1], 3),
        "torch_save_share_each_minute": percent(busy[1], MINUTE),
    }


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3f} %"


def main() -> int:
    parser = arguments("What a checkpoint costs while training goes on.")
    parser.add_argument("--corpus", default=PYTHON_DOCS, help="a text file (default: the text that Python carries)")
    parser.add_argument("--steps", type=int, default=6, help="of a stretch: longer than a save takes")
    parser.add_argument("--repeat", type=int, default=7)
    chosen = parser.parse_args()
    show({**measure(chosen.corpus, chosen.steps, chosen.repeat), **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
