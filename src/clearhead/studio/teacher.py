"""`python -m clearhead.studio.teacher HOME LESSON RUNS WORD`: tells a lesson into a file, reads answers from one."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.errors import ClearheadError
from clearhead.lessons.catalogue import after, find
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Code, Part, Picture, Quote, Ran, Say, Table
from clearhead.lessons.predicting import Guess, Outcome, beside, outcome, read_guess
from clearhead.runtime import share_cores
from clearhead.studio.courses import Telling
from clearhead.studio.replies import to_json
from clearhead.studio.tail import Tail

if TYPE_CHECKING:
    from clearhead.training.events import Event

PATIENCE = 3600.0
"""Seconds for which an answer is waited for; then nobody sits there any more."""
PAUSE = 0.1
KINDS = {Say: "words", Ask: "question", Claim: "claim", Ran: "ran", Table: "table", Bars: "bars", Quote: "quote"}
KINDS |= {Answer: "answer", Picture: "picture", Code: "code"}


class Teacher:
    """One lesson on its way into a file."""

    def __init__(self, told: Telling) -> None:
        self.told = told
        self.asked: tuple[Ask, Guess | None] | None = None
        self.outcomes: list[Outcome] = []
        self.questions = 0

    def tell(self, name: str, runs: Path, word: str) -> None:
        """Go through the parts; at the end remember that it was done."""
        from clearhead.lessons.desk import Desk
        from clearhead.lessons.progress import Done, keep

        begun, lesson = time.perf_counter(), find(name)
        desk = Desk([word], runs, sinks=lambda run: [_Progress(self.told.progress, run)])
        for part in lesson.parts(desk):
            self._write(self._record(part))
            if isinstance(part, Ask):
                self.asked = part, self._wait(part)
        seconds, following = time.perf_counter() - begun, after(lesson)
        keep(lesson.slug, Done.now(desk.corpus.name, seconds, self.outcomes))
        self._write({"kind": "end", "seconds": seconds, "next": following and following.number})

    def _record(self, part: Part) -> dict[str, Any]:
        """A part as JSON values; an answer beside what was predicted, a picture with its figure."""
        record = {"kind": KINDS[type(part)], **part.to_dict()}
        if isinstance(part, Answer):
            assert self.asked is not None, "a lesson answers what it has asked"
            ask, guess = self.asked
            self.outcomes.append(outcome(ask, guess, part))
            record |= {"said": beside(ask, self.outcomes[-1]), **asdict(self.outcomes[-1])}
        elif isinstance(part, Picture):
            record["figure"] = json.loads(part.draw().to_json() or "null")
        elif isinstance(part, Claim):
            record["text"] = part.text
        return record

    def _wait(self, ask: Ask) -> Guess | None:
        """What is answered; None for nothing, and where nobody answers."""
        self.questions += 1
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            given, _ = Tail(self.told.answers).read()
            if len(given) >= self.questions:
                return read_guess(ask, json.loads(given[self.questions - 1]))
            time.sleep(PAUSE)
        with self.told.answers.open("a", encoding="utf-8") as file:
            file.write('""\n')
        return None

    def _write(self, record: dict[str, Any]) -> None:
        with self.told.parts.open("ab") as file:
            file.write(to_json(record) + b"\n")


class _Progress:
    """How far a run of the lesson is, in one line of a file."""

    def __init__(self, path: Path, run: str) -> None:
        self.path, self.run, self.steps, self.last = path, run, 0, 0.0

    def handle(self, event: "Event") -> None:
        """Say how far it is, twice a second."""
        from clearhead.training.events import Started, Stepped

        if isinstance(event, Started):
            self.steps = event.max_iters
        elif isinstance(event, Stepped) and time.monotonic() - self.last > 0.5:
            self.last = time.monotonic()
            self.path.write_text(f"{self.run}: step {event.step:,} of {self.steps:,}, loss {event.loss:.3f}")

    def close(self) -> None:
        """Nothing is being trained any more."""
        self.path.unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    """Tell the lesson; what goes wrong is said as the command line says it."""
    home, lesson, runs, word = argv
    share_cores()
    try:
        Teacher(Telling(Path(home))).tell(lesson, Path(runs), word)
    except ClearheadError as error:
        sys.stderr.write(f"clearhead: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("clearhead: the lesson was stopped\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
