"""`clearhead learn`: the course, on the student's own text."""

import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from clearhead.cli.arguments import RUNS, Switch, parse
from clearhead.errors import ConfigError
from clearhead.lessons.catalogue import after, find, lessons
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Code, Part, Picture, Quote, Ran, Say, Table
from clearhead.lessons.predicting import Guess, Outcome, beside, outcome, read_guess
from clearhead.lessons.progress import Done, keep, read_progress

if TYPE_CHECKING:
    from clearhead.experiments.conduct import Watcher
    from clearhead.training.events import Event

STDIN = "-"
WIDEST = 100
"""Columns of a paragraph, at most: longer lines are hard to read."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Learn by predicting, then measuring, on your own text. Without a lesson: all lessons, and what you have done.

    A lesson asks for a prediction, runs an experiment of seconds with public commands, shows what came out, and says
    what follows from it. Runs are kept, so that later lessons go on with them.
    """

    lesson: tyro.conf.Positional[str | None] = None
    """A lesson by its number or its name."""
    corpus: str | None = None
    """The text: a file, a folder, a glob, or the name of a corpus (default: the built-in text)."""
    out: Path = RUNS / "learn"
    """The folder that holds the lessons' runs, by text."""
    ask: bool = True
    """Ask for predictions; --no-ask tells the lesson straight on."""
    json: Switch = False
    """Print one JSON document; nothing is asked."""


def run(argv: Sequence[str]) -> int:
    """List the lessons, or tell one."""
    arguments = parse(Arguments, "learn", argv)
    done, notice = read_progress()
    if notice:
        print(f"note: {notice}", file=sys.stderr)
    if arguments.lesson is None:
        _list(done, arguments.json)
        return 0
    if arguments.corpus == STDIN:
        raise ConfigError("--corpus - cannot be: a lesson reads its text several times; write it into a file")
    _Telling(find(arguments.lesson), arguments).tell()
    return 0


def _list(done: dict[str, Done], as_json: bool) -> None:
    """The course, with what was done and how it was predicted."""
    course = list(lessons().values())
    if as_json:
        from clearhead.cli.report import print_json

        records = [
            {
                **{name: getattr(lesson, name) for name in ("number", "slug", "title", "question")},
                "done": asdict(done[lesson.slug]) if lesson.slug in done else None,
            }
            for lesson in course
        ]
        print_json({"lessons": records})
        return
    width = max(len(lesson.slug) for lesson in course)
    print("The course: each lesson asks, measures on your text, and says what follows.\n")
    for lesson in course:
        mark = "x" if lesson.slug in done else " "
        print(f" [{mark}] {lesson.number:>2}  {lesson.slug:<{width}}  {lesson.question}")
        if lesson.slug in done:
            print(f"     {'':>2}  {'':<{width}}  {_how_it_went(done[lesson.slug])}")
    following = next((lesson for lesson in course if lesson.slug not in done), None)
    print(f"\n{sum(lesson.slug in done for lesson in course)} of {len(course)} done.", end=" ")
    print(f"Next: clearhead learn {following.slug}" if following else "All of them: take another text, with --corpus.")


def _how_it_went(done: Done) -> str:
    predicted = [found for found in done.outcomes if found.predicted is not None]
    told = f"on {done.corpus}, {done.when[:10]}"
    if not predicted:
        return f"{told}; nothing was predicted"
    said = "; ".join(f"you said {_plain(f.predicted)}, measured {_plain(f.measured)}" for f in predicted)
    return f"{told}; {said}"


def _plain(value: Guess | None) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value != int(value) else str(value).removesuffix(".0")


class _Telling:
    """One lesson on its way to the screen."""

    def __init__(self, lesson: Lesson, arguments: Arguments) -> None:
        self.lesson, self.arguments = lesson, arguments
        self.quiet = arguments.json
        self.asked: tuple[Ask, Guess | None] | None = None
        self.outcomes: list[Outcome] = []
        self.judging = False

    def tell(self) -> None:
        """Go through the parts; at the end remember that it was done."""
        from clearhead.lessons.desk import Desk

        begun, lesson = time.perf_counter(), self.lesson
        words = [self.arguments.corpus] if self.arguments.corpus else []
        desk = Desk(words, self.arguments.out, sinks=lambda name: [_Ticker(name)], watcher=_watcher)
        parts = []
        if not self.quiet:
            self._title(f"Lesson {lesson.number}: {lesson.title}")
            self._paragraph(lesson.question)
        for part in lesson.parts(desk):
            parts.append(part)
            self._take(part)
        seconds = time.perf_counter() - begun
        keep(lesson.slug, Done.now(desk.corpus.name, seconds, self.outcomes))
        if self.quiet:
            self._document(desk.corpus.name, parts, seconds)
        else:
            following = after(lesson)
            print(
                f"\nnext: clearhead learn {following.slug}    {following.question}" if following else "\nthe last one"
            )

    def _document(self, corpus: str, parts: list[Part], seconds: float) -> None:
        from clearhead.cli.report import print_json

        lesson, following = self.lesson, after(self.lesson)
        print_json(
            {
                **{name: getattr(lesson, name) for name in ("number", "slug", "title", "question")},
                "corpus": corpus,
                "parts": [part.to_dict() for part in parts],
                "outcomes": [asdict(found) for found in self.outcomes],
                "verdict": [{"name": p.name, "holds": p.holds, "words": p.text} for p in parts if isinstance(p, Claim)],
                "seconds": seconds,
                "next": following.slug if following else None,
            }
        )

    def _take(self, part: Part) -> None:
        """Show a part; keep what was asked and what was measured."""
        if isinstance(part, Ask):
            self.asked = part, None if self.quiet else self._ask(part)
        elif isinstance(part, Answer):
            assert self.asked is not None, "a lesson answers what it has asked"
            ask, guess = self.asked
            self.outcomes.append(outcome(ask, guess, part))
            if not self.quiet:
                self._paragraph(f"{beside(ask, self.outcomes[-1])} {part.words}", style="bold")
        elif not self.quiet:
            self._show(part)

    def _show(self, part: Part) -> None:
        match part:
            case Say():
                self._paragraph(part.text)
            case Quote():
                self._lines(f"│ {line}" for line in part.text.splitlines())
            case Ran():
                self._print(f"\n$ {part.command}" + "    (there from before)" * part.reused, style="cyan")
            case Table():
                self._lines(part.lines())
                self._note(part.caption)
            case Bars():
                self._lines([part.title, *part.lines()])
            case Picture():
                self._note(f"picture: {part.title}: {part.command}")
            case Claim():
                if not self.judging:
                    self._title("What follows")
                self.judging = True
                self._claim(part)
            case Code():
                self._title("The same in the lecture's words (python, beside your text as input.txt)")
                self._lines(part.text.strip().splitlines())
            case _:
                raise AssertionError(f"no way to show a {type(part).__name__}")

    def _ask(self, ask: Ask) -> Guess | None:
        """The student's prediction; None for Enter, the end of input, and where nothing is asked."""
        self._title("Predict")
        self._paragraph(ask.question)
        if ask.choices:
            self._lines(f"{letter}) {words}" for letter, words in ask.choices)
        while self.arguments.ask:
            print("your prediction (Enter: none) > ", end="", flush=True)
            typed = sys.stdin.readline()
            if not typed or not sys.stdin.isatty():
                print()
            try:
                return read_guess(ask, typed)
            except ConfigError as error:
                print(error)
        return None

    def _claim(self, claim: Claim) -> None:
        if claim.note:
            said = f'Often noted: "{claim.note}"'
            self._paragraph(f"{said} {'Not so here.' if claim.holds else ''}".strip(), style="italic")
        self._paragraph(f"{'*' if claim.holds else '?'} {claim.text}", after="  ")

    def _title(self, text: str) -> None:
        self._print(f"\n{text}", style="bold green")

    def _paragraph(self, text: str, style: str = "", after: str = "") -> None:
        width = min(WIDEST, self._console.width)
        self._print("\n" + textwrap.fill(text, width, subsequent_indent=after, break_long_words=False), style)

    def _note(self, text: str) -> None:
        if text:
            self._print(textwrap.indent(text, "  "), style="dim")

    def _lines(self, lines: "Iterator[str] | Sequence[str]") -> None:
        self._print("\n" + "\n".join(f"  {line}".rstrip() for line in lines))

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)

    @property
    def _console(self) -> Any:
        from clearhead.cli.report import console

        return console()


def _watcher() -> "Watcher | None":
    """Who shows an experiment: a table on standard error, wiped at its end; nobody where that is no terminal."""
    from clearhead.experiments.console import watcher

    return watcher(sys.stderr) if sys.stderr.isatty() else None


class _Ticker:
    """A run's progress on one line of standard error, wiped when it ends; nothing where that is no terminal."""

    def __init__(self, name: str) -> None:
        self.name, self.steps, self.last = name, 0, 0.0
        self.wide = 0

    def handle(self, event: "Event") -> None:
        """Say how far it is, a few times a second."""
        from clearhead.training.events import Started, Stepped

        if isinstance(event, Started):
            self.steps = event.max_iters
        elif isinstance(event, Stepped) and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            self._tick(f"  {self.name}: step {event.step:,} of {self.steps:,}, loss {event.loss:.3f}")

    def close(self) -> None:
        """Wipe the line."""
        self._tick("")

    def _tick(self, line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{line:<{self.wide}}", end="\r" * (not line), file=sys.stderr, flush=True)
            self.wide = len(line)
