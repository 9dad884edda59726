"""Analogies in lessons: what runs answer, and how often the words stand in the student's text."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from clearhead.lessons.parts import Part, Table

if TYPE_CHECKING:
    from clearhead.api import Run
    from clearhead.inspection.analogies import Answer
    from clearhead.lessons.desk import Desk

IN_WORDS: dict[str, Any] = {"tokenizer": "word", "lowercase": True, "vocab_size": 2_000}
"""How the student's text is read for its words: the most frequent ones, in lower case."""


def word_counts(desk: "Desk", *words: str) -> dict[str, int]:
    """How often words stand in the training text, in upper or lower case."""
    from clearhead.config import RunConfig
    from clearhead.data.prepare import prepare
    from clearhead.errors import TokenizerError
    from clearhead.inspection.tables import find_token, token_counts

    prepared = prepare(RunConfig().with_settings(IN_WORDS | {"vocab_size": None}), desk.words)
    counts = token_counts(prepared.data, prepared.tokenizer.vocab_size)
    found = {}
    for word in words:
        try:
            found[word] = int(counts[find_token(word, prepared.tokenizer, counts)])
        except TokenizerError:
            found[word] = 0
    return found


def ask(desk: "Desk", run: "Run", words: tuple[str, str, str]) -> "Generator[Part, None, Sequence[Answer]]":
    """What the tables of a run answer."""
    found = yield from desk.inspect(run, "embeddings", analogies=(words,))
    return found.view.analogies[0].answers


def answers_table(asked: "Sequence[tuple[str, tuple[str, str, str], Sequence[Answer]]]") -> Table:
    """What each table of each run answers: (text, question, answers)."""
    rows = [
        (
            text,
            f"{b} - {a} + {c}",
            answer.table,
            f"{answer.first} {cosine_of(answer, answer.first)}",
            f"{answer.ranked[0].token} {answer.ranked[0].cosine:.2f}",
            answer.near_b,
        )
        for text, (a, b, c), answers in asked
        for answer in answers
    ]
    return Table.of(
        "text | question | table | answer, cosine | with the inputs | nearest to the first alone",
        rows,
        "answer: the nearest that is no input, as the usual tools give it",
    )


def cosine_of(answer: "Answer", word: str) -> str:
    """The cosine of a word in an answer."""
    return next((f"{each.cosine:.2f}" for each in answer.ranked if each.token == word), "far off")


def place_of_queen(answer: "Answer") -> str:
    """Where queen stands in an answer that is another word."""
    found = next((each for each in answer.ranked if each.token == "queen"), None)
    return f"queen has {found.cosine:.2f}, at rank {found.rank}" if found else "queen is not among the nearest 8"
