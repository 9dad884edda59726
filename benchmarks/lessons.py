"""Writes docs/lessons by telling the course on tiny Shakespeare: `python benchmarks/lessons.py [NUMBER ...]`.

Runs are kept in a temporary folder unless --out names one; figures need Chrome or Chromium.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from clearhead.figures.images import image
from clearhead.files import write_atomic
from clearhead.lessons.catalogue import after, find, lessons
from clearhead.lessons.desk import FOLDER, Desk
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.page import page, page_name

PAGES = Path(__file__).parents[1] / "docs" / "lessons"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", help="lessons (default: all)")
    parser.add_argument("--out", type=Path, help="keep the runs below this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.out or Path(aside)
        work.mkdir(parents=True, exist_ok=True)
        os.chdir(work)  # commands on the pages name runs from here
        desk = Desk(("shakespeare",), FOLDER)
        for lesson in [find(number) for number in arguments.numbers] or lessons().values():
            write(lesson, desk)
    write_atomic(PAGES / "index.md", index())


def write(lesson: Lesson, desk: Desk) -> None:
    """Tell one lesson, and write what it says."""

    def draw(name: str, figure: object) -> str:
        target = f"images/{lesson.number:02}-{name}.svg"
        write_atomic(PAGES / target, image(figure, "svg"))  # pyright: ignore[reportArgumentType]
        return target

    begun = time.process_time()
    parts = list(lesson.parts(desk))
    (PAGES / "images").mkdir(parents=True, exist_ok=True)
    write_atomic(PAGES / page_name(lesson), page(lesson, parts, after(lesson), draw))
    print(f"{lesson.number:>2} {lesson.slug}: {time.process_time() - begun:.1f} s of processor time")


def index() -> str:
    """The list of the course."""
    rows = [f"| {one.number} | [{one.title}]({page_name(one)}) | {one.question} |" for one in lessons().values()]
    return "\n".join(
        [
            "# The course",
            "",
            "The questions that everyone has after the lecture, answered by experiments of seconds. These pages",
            "were told on tiny Shakespeare. `clearhead learn LESSON --corpus your.txt` asks first, and measures",
            "on your own text.",
            "",
            "| | lesson | question |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
