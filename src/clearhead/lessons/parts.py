"""What a lesson is made of, in the order in which it is told. Parts are plain records: whoever shows them prints.

A lesson is a generator. What stands after an `Ask` is computed only when the student has answered.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Part:
    """Base of all parts."""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values, its kind first."""
        return {"part": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Say(Part):
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Quote(Part):
    """Text as a program or a model wrote it, line for line."""

    text: str


@dataclass(frozen=True)
class Ask(Part):
    """A prediction, before anything is measured: of one of the choices, or of a number where there are none."""

    question: str
    choices: tuple[tuple[str, str], ...] = ()
    """(letter, what it stands for)"""
    near: float = 0.1
    """A number is close within this share of the measured one."""


@dataclass(frozen=True)
class Answer(Part):
    """What was measured, for the latest `Ask`: a number, or the letter of a choice."""

    value: float | str
    words: str
    """Why, or how it was measured; true whatever was predicted."""


@dataclass(frozen=True)
class Ran(Part):
    """A command that gives these numbers again."""

    command: str
    reused: bool = False
    """Whether it was run by an earlier lesson, and its run is used again."""


@dataclass(frozen=True)
class Table(Part):
    """Rows under a head; columns of numbers to the right, others to the left."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @classmethod
    def of(cls, head: str, rows: Sequence[Sequence[object]], caption: str = "") -> "Table":
        """A table whose head is written with bars: "token | count | share"."""
        names = tuple(name.strip() for name in head.split("|"))
        return cls(names, tuple(tuple(map(str, row)) for row in rows), caption)

    def lines(self) -> list[str]:
        """The table as text."""
        columns = [_aligned(head, cells) for head, *cells in zip(self.head, *self.rows, strict=True)]
        return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]


NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?%?|-|\.|")
"""What a column of numbers may hold: numbers, shares, and marks where there is none."""


def _aligned(head: str, cells: list[str]) -> list[str]:
    width = max(len(cell) for cell in (head, *cells))
    numbers = all(NUMBER.fullmatch(cell) for cell in cells)
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in (head, *cells)]


@dataclass(frozen=True)
class Bars(Part):
    """Numbers of 0 and more as bars of text."""

    title: str
    values: tuple[tuple[str, float], ...]
    form: str = ".3f"

    def lines(self, width: int = 40) -> list[str]:
        """The bars as text; the longest has `width` blocks."""
        most = max((value for _, value in self.values), default=0.0) or 1.0
        label = max((len(name) for name, _ in self.values), default=0)
        return [
            f"{name:<{label}}  {'█' * round(width * value / most)} {value:{self.form}}" for name, value in self.values
        ]


@dataclass(frozen=True)
class Picture(Part):
    """A figure: drawn on pages; in a terminal the command that shows it."""

    name: str
    title: str
    command: str
    draw: "Callable[[], Figure]" = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The picture without its drawing."""
        return {"part": "picture", "name": self.name, "title": self.title, "command": self.command}


@dataclass(frozen=True)
class Claim(Part):
    """A sentence of the verdict, decided by the numbers of this text."""

    name: str
    holds: bool
    words: str
    """What is said where it holds."""
    otherwise: str
    """What is said where it does not."""
    note: str = ""
    """The sentence of the usual study notes that it corrects."""

    @property
    def text(self) -> str:
        """The sentence that is true here."""
        return self.words if self.holds else self.otherwise


@dataclass(frozen=True)
class Code(Part):
    """The same in the lecture's words; it runs beside a file input.txt."""

    text: str
