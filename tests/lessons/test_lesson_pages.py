"""The pages in docs/lessons are those of the course: same lessons, questions and code."""

import re
from pathlib import Path

import pytest

from clearhead.lessons.catalogue import after, find, lessons
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.page import marked, page, page_name
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Code, Picture, Quote, Ran, Say, Table

PAGES = Path(__file__).parents[2] / "docs" / "lessons"
COURSE = list(lessons().values())
ANEW = "write it anew with: python benchmarks/lessons.py"


@pytest.mark.parametrize("lesson", COURSE, ids=lambda lesson: lesson.slug)
def test_each_lesson_has_its_page(lesson: Lesson) -> None:
    path = PAGES / page_name(lesson)
    assert path.exists(), ANEW
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {lesson.number}. {lesson.title}\n\n**{lesson.question}**\n"), ANEW
    assert f"```python\n{lesson.code.strip()}\n```" in text, ANEW
    assert text.index("## Predict") < text.index("Measured: ") < text.index("## What follows"), ANEW
    following = after(lesson)
    assert (f"]({page_name(following)})" in text) if following else ("Next: " not in text), ANEW


def test_no_page_is_left_over() -> None:
    there = {path.name for path in PAGES.glob("*.md")}
    assert there == {"index.md", *map(page_name, COURSE)}
    shown = {
        link
        for path in PAGES.glob("*.md")
        for link in re.findall(r"\]\((images/[^)]+)\)", path.read_text(encoding="utf-8"))
    }
    assert shown == {f"images/{path.name}" for path in (PAGES / "images").iterdir()}


def test_index_lists_the_course() -> None:
    text = (PAGES / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \| \[([^\]]+)\]", text, re.MULTILINE) == [(str(x.number), x.title) for x in COURSE]


def test_every_part_has_a_place_on_a_page() -> None:
    parts = [
        Say("a_b is [x]"),
        Ask("Which?", (("a", "one"), ("b", "two"))),
        Ran("clearhead look"),
        Answer("b", "Counted."),
        Table.of("x | y", [[1, 2]], "a caption"),
        Bars("bars", (("x", 1.0),)),
        Quote("said"),
        Picture("name", "a picture", "clearhead inspect", lambda: None),  # pyright: ignore[reportArgumentType]
        Claim("one", True, "It is 1.", "It is not.", note="it is 2"),
        Claim("two", False, "It is 1.", "It is 3.", note="it is 2"),
        Code("print(1)"),
    ]
    text = page(find("1"), parts, None, lambda name, figure: f"images/{name}.svg")
    for said in (
        r"a\_b is \[x\]",
        "- a) one",
        "```sh\nclearhead look\n```",
        "Measured: b (two). Counted.",
        "a caption",
        "![a picture](images/name.svg)",
        "- *it is 2*: not so. It is 1.",
        "- It is 3.",
        "```python\nprint(1)\n```",
    ):
        assert said in text
    assert "Next" not in text
    assert marked("a|b") == r"a\|b"
