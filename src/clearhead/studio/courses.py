"""Lessons, each told by a process of its own: what it says lies in a file, what is answered in another."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearhead.files import storing
from clearhead.lessons.catalogue import find
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Ask
from clearhead.lessons.predicting import read_guess
from clearhead.serving.errors import ApiError
from clearhead.studio.processes import Processes, ask_to_end, complaint
from clearhead.studio.tail import Tail

TEACHER = "clearhead.studio.teacher"
"""The module that tells a lesson."""


class Telling:
    """The files of one lesson that is being told, or was."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.parts, self.answers = home / "parts.jsonl", home / "answers.jsonl"
        self.progress, self.log = home / "progress", home / "log"

    def begin_anew(self) -> None:
        """Forget what was told before."""
        with storing(self.home):
            self.home.mkdir(parents=True, exist_ok=True)
            for file in (self.parts, self.answers, self.progress):
                file.unlink(missing_ok=True)
            self.answers.touch()

    def read(self, cursor: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The parts from a cursor on, and the next cursor."""
        tail = Tail(self.parts, cursor)
        lines, _ = tail.read()
        return [json.loads(line) for line in lines], tail.cursor

    def question(self) -> dict[str, Any] | None:
        """The question that waits for an answer."""
        asked = [part for part in self.read()[0] if part["kind"] == "question"]
        given = Tail(self.answers).read()[0]
        return asked[-1] if len(asked) > len(given) else None


class Courses:
    """The lessons of one studio."""

    def __init__(self, folder: Path, runs: Path, processes: Processes) -> None:
        """`runs` is the folder that holds the lessons' runs."""
        self.folder, self.runs, self.processes = folder, runs, processes

    def start(self, lesson: Lesson, word: str) -> None:
        """Begin a lesson on a text that is named by a word of the command line; one that is told already ends."""
        told = self.told(lesson)
        if self.processes.alive(told.log):
            raise ApiError(409, f"lesson {lesson.number} is being told; answer it, or stop it first", code="being_told")
        told.begin_anew()
        words = [str(told.home), lesson.slug, str(self.runs), word]
        pid = self.processes.start(told.log, TEACHER, words)
        told.progress.with_name("pid").write_text(str(pid))

    def stop(self, lesson: Lesson) -> None:
        """End a lesson that is being told; a run that it trains is saved."""
        told = self.told(lesson)
        if self.processes.alive(told.log):
            ask_to_end(int((told.home / "pid").read_text()))

    def parts(self, lesson: Lesson, cursor: int) -> dict[str, Any]:
        """What was said since a cursor, what is being done, and whether that is all."""
        told = self.told(lesson)
        alive = self.processes.alive(told.log)  # asked first: what is said before it ends is not missed
        parts, cursor = told.read(cursor)
        problem = None if alive else complaint(told.log)
        progress = told.progress.read_text(encoding="utf-8") if alive and told.progress.exists() else None
        done = not alive and told.parts.exists()
        return {"parts": parts, "cursor": cursor, "done": done, "problem": problem, "progress": progress}

    def answer(self, lesson: Lesson, typed: str) -> None:
        """Answer the question that waits; ConfigError for what is no number, or none of the choices."""
        told = self.told(lesson)
        asked = told.question()
        if asked is None:
            raise ApiError(409, f"lesson {lesson.number} asks nothing at the moment", code="nothing_asked")
        read_guess(_question(asked), typed)
        with storing(told.answers), told.answers.open("a", encoding="utf-8") as file:
            file.write(json.dumps(typed) + "\n")

    def told(self, lesson: Lesson) -> Telling:
        """The files of a lesson."""
        return Telling(self.folder / lesson.slug)


def find_lesson(name: str) -> Lesson:
    """A lesson by its number; ConfigError with those that there are."""
    return find(name)


def _question(record: Mapping[str, Any]) -> Ask:
    return Ask(record["question"], tuple((letter, words) for letter, words in record["choices"]))


def about(lesson: Lesson) -> dict[str, Any]:
    """A lesson as a list shows it."""
    return {
        "number": lesson.number,
        "slug": lesson.slug,
        "title": lesson.title,
        "question": lesson.question,
        "views": list(lesson.views),
    }
