"""A lesson as a page of Markdown, its figures beside it."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from clearhead.lessons.lesson import Lesson
from clearhead.lessons.parts import Answer, Ask, Bars, Claim, Code, Part, Picture, Quote, Ran, Say, Table
from clearhead.lessons.predicting import Outcome, beside

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def page_name(lesson: Lesson) -> str:
    """The file of a lesson's page.

    >>> from clearhead.lessons.catalogue import find
    >>> page_name(find("1"))
    '01-characters.md'
    """
    return f"{lesson.number:02}-{lesson.slug}.md"


def page(lesson: Lesson, parts: Sequence[Part], following: Lesson | None, draw: Callable[[str, "Figure"], str]) -> str:
    """The page of a lesson that was told; `draw` stores a figure by its name and returns the link to it."""
    blocks = [f"# {lesson.number}. {lesson.title}", f"**{lesson.question}**"]
    blocks += [
        f"```sh\nclearhead learn {lesson.slug}\n```",
        "Told on tiny Shakespeare; with `--corpus` the same is measured on a text of yours.",
    ]
    asked, judging = None, False
    for part in parts:
        if isinstance(part, Ask):
            asked = part
        if isinstance(part, Claim) and not judging:
            judging = True
            blocks.append("## What follows")
        blocks += _blocks(part, asked, draw)
    if following:
        blocks.append(f"Next: [{following.question}]({page_name(following)})")
    return "\n\n".join(blocks) + "\n"


def _blocks(part: Part, asked: Ask | None, draw: Callable[[str, "Figure"], str]) -> Iterator[str]:
    match part:
        case Say():
            yield marked(part.text)
        case Ask():
            yield "## Predict"
            yield marked(part.question)
            if part.choices:
                yield "\n".join(f"- {letter}) {marked(words)}" for letter, words in part.choices)
        case Answer():
            assert asked is not None, "a lesson answers what it has asked"
            yield marked(f"{beside(asked, Outcome(asked.question, None, part.value, None))} {part.words}")
        case Ran():
            yield f"```sh\n{part.command}\n```"
        case Table():
            yield _fenced([*part.lines(), *part.caption.splitlines()])
        case Bars():
            yield _fenced([part.title, *part.lines()])
        case Quote():
            yield _fenced(part.text.splitlines())
        case Picture():
            yield f"![{part.title}]({draw(part.name, part.draw())})"
        case Claim():
            note = f"*{marked(part.note)}*: not so. " if part.note and part.holds else ""
            yield f"- {note}{marked(part.text)}"
        case Code():
            yield "## The same in the lecture's words"
            yield f"```python\n{part.text.strip()}\n```"
        case _:
            raise AssertionError(f"no way to write a {type(part).__name__}")


def marked(text: str) -> str:
    """A sentence with what Markdown would take for its own marks escaped."""
    return re.sub(r"([\\`*_<>|#\[\]])", r"\\\1", text)


def _fenced(lines: Sequence[str]) -> str:
    """Lines in a fence; bars of three would end it."""
    body = "\n".join(line.rstrip() for line in lines)
    return f"```\n{body}\n```"
