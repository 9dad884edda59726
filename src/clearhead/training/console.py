"""A run's events for a person: a bar with what matters on a terminal, plain lines elsewhere."""

import math
import time
from dataclasses import replace
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from clearhead.training.events import (
    Certified,
    Evaluated,
    Event,
    Finished,
    Notice,
    Replanned,
    Sampled,
    Saved,
    Started,
    Stepped,
)

FAR_FROM_UNIFORM = 0.3
"""Nats: a first loss further than this from ln V deserves a sentence."""
SECONDS_BETWEEN_LINES = 10.0


class PlainConsole:
    """Lines that read well in a log."""

    def __init__(self, stream: TextIO, *, terminal: bool = False) -> None:
        self.out = Console(file=stream, highlight=False, soft_wrap=True, no_color=not terminal, emoji=False)
        self.started: Started | None = None
        self.passed: set[str] = set()
        self.first_step: tuple[int, float] | None = None
        self.last_line = 0.0

    def handle(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Started():
                self._start(event)
            case Stepped():
                self._step(event)
            case Evaluated():
                self._evaluation(event)
            case Certified():
                gap, leak = event.gap / math.log(2), event.leak / math.log(2)
                self.line(
                    f"  the table is {gap:.4f} bits above the best there is, {leak:.4f} of them on pairs never seen"
                )
            case Sampled():
                self.line(f"[dim]{indented(event.text)}[/dim]")
            case Replanned():
                self._replan(event)
            case Notice():
                self.line(f"[yellow]note:[/yellow] {escape(event.message)}")
            case Finished():
                self._finish(event)
            case Saved() | _:
                pass

    def close(self) -> None:
        """Nothing is held open."""

    def line(self, text: str) -> None:
        """Print a line of rich markup."""
        self.out.print(text)

    def _start(self, event: Started) -> None:
        self.started = event
        goes_on = f", from step {event.step:,}" if event.step else ""
        self.line(
            f"[bold]{event.model}[/bold] with {event.parameters:,} parameters on {event.device}: "
            f"{event.max_iters:,} steps of {event.tokens_per_step:,} tokens, "
            f"{event.max_iters * event.epochs_per_step:.1f} epochs{goes_on}"
        )
        if event.rungs:
            listed = ", ".join(f"{name} {nats:.3f}" for name, nats in event.rungs.items())
            self.line(f"to beat on validation, nats per token: {listed}")

    def _replan(self, event: Replanned) -> None:
        assert self.started is not None
        self.started = replace(self.started, max_iters=event.max_iters)
        self.line(escape(event.message))

    def _step(self, event: Stepped) -> None:
        if self.first_step is None:
            self.first_step = (event.step, event.seconds)
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.line(escape(self.status(event)))

    def status(self, event: Stepped) -> str:
        """Where training stands, in one line."""
        assert self.started is not None
        parts = [
            f"step {event.step:,}/{self.started.max_iters:,}",
            f"epoch {event.step * self.started.epochs_per_step:.2f}",
            f"loss {event.loss:.3f}",
        ]
        if self.first_step and event.step > self.first_step[0]:
            per_step = (event.seconds - self.first_step[1]) / (event.step - self.first_step[0])
            characters = self.started.tokens_per_step * self.started.train_characters_per_token / max(per_step, 1e-9)
            parts.append(f"{characters:,.0f} characters/s")
            parts.append(f"{duration((self.started.max_iters - event.step) * per_step)} left")
        return ", ".join(parts)

    def _evaluation(self, event: Evaluated) -> None:
        assert self.started is not None
        if event.step == 0:
            self._judge_first_loss(event)
        figures = [f"train {event.train:.4f}"]
        if event.val is not None:
            bits = event.val / math.log(2) / self.started.characters_per_token
            figures.append(f"val {event.val:.4f} nats per token ({bits:.3f} bits per character)")
        if event.dev is not None:
            figures.append(f"dev {event.dev:.4f}" + (" best" if event.best and event.step else ""))
        self.line(f"[bold]step {event.step:,}[/bold]: {', '.join(figures)}, {duration(event.seconds)}")
        for name in event.below:
            if name not in self.passed and event.step > self.started.step:
                self.line(f"[green]passed the {name} at step {event.step:,}[/green]")
        self.passed.update(event.below)

    def _judge_first_loss(self, event: Evaluated) -> None:
        """Hold the loss before the first step against ln V, and against what the initialisation should cost."""
        assert self.started is not None
        uniform, expected = self.started.rungs.get("uniform"), self.started.expected_first_loss
        first = event.val if event.val is not None else event.train
        if uniform is None:
            return
        if abs(first - uniform) <= FAR_FROM_UNIFORM:
            why = "as a model that knows nothing should be"
        elif expected is not None and abs(first - expected) <= FAR_FROM_UNIFORM:
            why = f"this initialisation is sure of itself before it knows anything, which costs {expected:.3f}"
        elif first < uniform:
            why = "the weights already know something of this text"
        else:
            why = "the first weights are sure of themselves, and wrong; a smaller initialisation starts lower"
        self.line(f"first loss {first:.3f} beside ln V = {uniform:.3f}: {why}")

    def _finish(self, event: Finished) -> None:
        said = {
            "done": "trained",
            "patience": "stopped early, dev no longer improves:",
            "interrupted": "interrupted and saved:",
        }[event.reason]
        self.line(f"{said} {event.step:,} steps in {duration(event.seconds)}")


class BarConsole(PlainConsole):
    """The same lines above a bar that moves."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, terminal=True)
        self.bar = Progress(BarColumn(), TextColumn("{task.description}"), console=self.out, transient=True)
        self.task = self.bar.add_task("", total=None)

    def _start(self, event: Started) -> None:
        super()._start(event)
        self.bar.update(self.task, total=event.max_iters, completed=event.step, description="compiling, evaluating")
        self.bar.start()

    def _replan(self, event: Replanned) -> None:
        super()._replan(event)
        self.bar.update(self.task, total=event.max_iters)

    def _step(self, event: Stepped) -> None:
        if self.first_step is None:
            self.first_step = (event.step, event.seconds)
        self.bar.update(self.task, completed=event.step, description=escape(self.status(event)))

    def _finish(self, event: Finished) -> None:
        self.bar.stop()
        super()._finish(event)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()


def indented(text: str) -> str:
    """A sample as a quotation: every line behind a bar, control characters shown."""
    visible = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "\n".join(f"  \N{BOX DRAWINGS LIGHT VERTICAL} {escape(line)}" for line in visible.split("\n"))


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4.26), duration(75), duration(7260)
    ('4.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
