"""An experiment for somebody who waits: a table that fills on a terminal, a line for every run elsewhere."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from clearhead.experiments.conduct import Watcher
from clearhead.experiments.design import Arm, Design
from clearhead.runs.directory import RunDirectory
from clearhead.training.console import duration
from clearhead.training.events import Evaluated, Event, Stepped

PER_SECOND = 4
"""How often the table is drawn."""


def watcher(stream: TextIO) -> Watcher:
    """Who shows an experiment on a stream."""
    return Filling(stream) if stream.isatty() else Lines(stream)


class Lines:
    """Lines that read well in a log."""

    def __init__(self, stream: TextIO) -> None:
        self.out = Console(file=stream, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self.done = self.total = 0

    def begin(self, design: Design, seconds: float) -> None:
        """Say what lies ahead."""
        self.total = len(design.arms) * len(design.seeds)
        self.out.print(words_ahead(design, seconds))

    def handle(self, arm: Arm, seed: int, event: Event) -> None:
        """Nothing: a run is told at its end."""

    def end(self, arm: Arm, seed: int, run: RunDirectory, *, before: bool) -> None:
        """Say that a run is there."""
        self.done += 1
        nats, seconds = last_seen(run)
        said = "made before" if before else duration(seconds)
        self.out.print(f"{self.done}/{self.total}  {arm.name}, seed {seed}: about {nats:.3f} nats per token, {said}")

    def tell(self, line: str) -> None:
        """Print it."""
        self.out.print(line)

    def close(self) -> None:
        """Nothing is held open."""


class Filling:
    """A table with a row for every setting; its figures are estimates until the verdict."""

    def __init__(self, stream: TextIO) -> None:
        self.out = Console(file=stream, highlight=False, emoji=False)
        self.live = Live(console=self.out, refresh_per_second=PER_SECOND, get_renderable=self.table, transient=True)
        self.design: Design | None = None
        self.losses: dict[str, list[float]] = {}
        self.seconds: dict[str, list[float]] = {}
        self.states: dict[str, str] = {}

    def begin(self, design: Design, seconds: float) -> None:
        """Say what lies ahead, and open the table."""
        self.design = design
        self.losses, self.seconds = ({arm.name: [] for arm in design.arms} for _ in range(2))
        self.out.print(words_ahead(design, seconds), markup=False)
        self.live.start()

    def handle(self, arm: Arm, seed: int, event: Event) -> None:
        """Say where the run is."""
        if isinstance(event, Stepped):
            steps = arm.draft.config.train.max_iters
            self.states[arm.name] = f"seed {seed}: step {event.step:,}/{steps:,}, loss {event.loss:.3f}"
        elif isinstance(event, Evaluated) and event.val is not None:
            self.states[arm.name] = f"seed {seed}: step {event.step:,}, about {event.val:.3f}"

    def end(self, arm: Arm, seed: int, run: RunDirectory, *, before: bool) -> None:
        """Put a run's figures into its row."""
        nats, seconds = last_seen(run)
        self.losses[arm.name].append(nats)
        self.seconds[arm.name].append(seconds)
        self.states[arm.name] = ""

    def tell(self, line: str) -> None:
        """Print it, above the table."""
        self.out.print(line, markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.live.stop()

    def table(self) -> Table:
        """What is known now."""
        made = Table(box=None, pad_edge=False)
        made.add_column("")
        for title in ("seeds", "val nats, about", "spread", "seconds"):
            made.add_column(title, justify="right", no_wrap=True)
        made.add_column("", no_wrap=True)
        for arm in self.design.arms if self.design else ():
            losses, seconds = self.losses[arm.name], self.seconds[arm.name]
            count = f"{len(losses)}/{len(self.design.seeds) if self.design else 0}"
            made.add_row(arm.name, count, *_mean(losses), _mean(seconds, 1)[0], self.states.get(arm.name, ""))
        return made


def last_seen(run: RunDirectory) -> tuple[float, float]:
    """The newest estimate of a run on validation in nats per token, NaN without one; and its seconds."""
    events = run.read_events()
    found = [event["val"] for event in events if event["event"] == "evaluated" and event["val"] is not None]
    return found[-1] if found else float("nan"), events[-1].get("seconds") or 0.0


def words_ahead(design: Design, seconds: float) -> str:
    """How many runs there are, and how long what is missing of them takes."""
    runs = f"{len(design.arms)} settings, {len(design.seeds)} seeds each"
    return f"{runs}: about {duration(seconds)}" if seconds else f"{runs}: all made before"


def _mean(values: Sequence[float], digits: int = 3) -> tuple[str, str]:
    """The mean and the standard deviation, as far as there are any."""
    return (
        f"{fmean(values):.{digits}f}" if values else "",
        f"± {stdev(values):.{digits}f}" if len(values) > 1 else "",
    )
