"""What every lesson is, and how it is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clearhead.errors import CorpusError
from clearhead.lessons.desk import Desk
from clearhead.lessons.parts import Code, Part

FEWEST = 3
"""Different tokens that a text must have: with fewer there is nothing to compare."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A question of the student's, and the experiment that answers it.

    Its module is named `lesson_NN_slug` and calls it LESSON. A module is imported to list the course, so torch and all
    that needs it is imported inside functions.
    """

    number: int
    slug: str
    title: str
    question: str
    """In the student's words."""
    teach: Callable[[Desk], Iterator[Part]]
    """All parts but the code."""
    code: str
    """The same in about ten lines of the lecture's; runs beside a file input.txt."""
    views: tuple[str, ...] = ()
    """The views of `clearhead inspect` that show on any run what it speaks of."""
    needs: int = 1_000
    """Characters that the text must have."""
    because: str = "too few pairs say nothing"
    """Why fewer will not do."""

    def parts(self, desk: Desk) -> Iterator[Part]:
        """Tell the lesson on the text of a desk; CorpusError where the text is too short for it."""
        characters = desk.characters
        if characters < self.needs:
            raise CorpusError(
                f"{desk.corpus.name} has {characters:,} characters, and lesson {self.number} ({self.slug}) needs "
                f"{self.needs:,}: {self.because}; leave --corpus out to learn on the built-in text"
            )
        if (V := desk.tokenizer.vocab_size) < FEWEST:
            raise CorpusError(
                f"{desk.corpus.name} has a vocabulary of {V}, and a lesson needs {FEWEST} different characters to "
                "compare; "
                "leave --corpus out to learn on the built-in text"
            )
        yield from self.teach(desk)
        yield Code(self.code)
