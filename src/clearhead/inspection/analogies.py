"""a is to b as c is to what? Answered by b - a + c, with nothing hidden.

The usual tools leave a, b and c out of the answer without a word, and the nearest to b or c is then often "the
analogy" (Linzen 2016, "Issues in evaluating semantic spaces using word analogies"). Here the inputs keep their
ranks, and the neighbours of b and c stand beside.
"""

from dataclasses import dataclass

import numpy as np

from clearhead.inspection.tables import Floats, Table, similarity

SHOWN = 8


@dataclass(frozen=True)
class Ranked:
    """A token's place in a list by cosine."""

    rank: int
    """1 is the nearest of the whole vocabulary, inputs among them."""
    token: str
    cosine: float
    is_input: bool


@dataclass(frozen=True)
class Answer:
    """What one run's table says."""

    run: str
    table: str
    ranked: tuple[Ranked, ...]
    """The nearest to b - a + c, inputs among them, and after them the inputs that came later."""
    first: str
    """The nearest that is no input."""
    near_b: str
    """Nearest to b alone, inputs left out: what no arithmetic at all would answer."""
    near_c: str
    """Nearest to c alone, inputs left out."""


@dataclass(frozen=True)
class Analogy:
    """One question, put to every table of every run."""

    a: str
    b: str
    c: str
    answers: tuple[Answer, ...]

    def agreement(self, table: str) -> tuple[str, int, int]:
        """The most frequent answer of a kind of table, how many runs gave it, of how many."""
        said = [answer.first for answer in self.answers if answer.table == table]
        most = max(dict.fromkeys(said), key=said.count)
        return most, said.count(most), len(said)

    def __str__(self) -> str:
        lines = [f"{self.a} is to {self.b} as {self.c} is to ?   ({self.b} - {self.a} + {self.c}, by cosine)"]
        for answer in self.answers:
            ranked = "  ".join(
                f"{r.rank} {f'({r.token})' if r.is_input else r.token} {r.cosine:.2f}" for r in answer.ranked
            )
            lines.append(f"  {answer.run}, {answer.table}: {ranked}")
            lines.append(
                f"    without the inputs {answer.first}; nearest to {self.b} alone {answer.near_b}, "
                f"to {self.c} alone {answer.near_c}"
            )
        for table in dict.fromkeys(answer.table for answer in self.answers):
            most, count, of = self.agreement(table)
            if of > 1:
                lines.append(f"  {count} of {of} runs answer {most} ({table})")
        return "\n".join([*lines, "  in brackets: inputs, with the ranks they have"])


def ask(run: str, table: Table, tokens: tuple[str, ...], a: int, b: int, c: int) -> Answer:
    """The answer of one table to a : b = c : ?; tokens (V,) are as people read them."""
    vectors = table.vectors
    near = similarity((vectors[b] - vectors[a] + vectors[c])[None], vectors, "cosine")[0]
    order = np.argsort(-near, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(1, len(order) + 1)
    listed = [*order[:SHOWN].tolist(), *sorted(({a, b, c} - set(order[:SHOWN].tolist())), key=lambda i: rank[i])]
    ranked = tuple(Ranked(int(rank[i]), tokens[i], float(near[i]), i in (a, b, c)) for i in listed)
    first, near_b, near_c = (
        tokens[_first(similarity(query[None], vectors, "cosine")[0], {a, b, c})]
        for query in (vectors[b] - vectors[a] + vectors[c], vectors[b], vectors[c])
    )
    return Answer(run, table.name, ranked, first, near_b, near_c)


@dataclass(frozen=True)
class CasePairs:
    """A - a + b = B, for every two letters that have both cases."""

    letters: int
    questions: int
    correct: float
    """The share where B is the nearest of all tokens that are no input."""
    correct_with_inputs: float
    """The share where B is the nearest of all, inputs too."""
    baseline: float
    """The share where B is the nearest to b alone, A and a left out: no arithmetic."""
    chance: float

    def __str__(self) -> str:
        return (
            f"case pairs, A - a + b = B for {self.letters} letters: {self.correct:.0%} of {self.questions} correct "
            f"with the inputs left out, {self.correct_with_inputs:.0%} with them in; "
            f"nearest to b alone {self.baseline:.0%}, chance {self.chance:.1%}"
        )


def case_pairs(vectors: Floats, tokens: tuple[str, ...]) -> CasePairs | None:
    """The test for a vocabulary of characters; None where fewer than two letters have both cases."""
    place = {token: i for i, token in enumerate(tokens)}
    pairs = [(i, place[t.lower()]) for t, i in place.items() if len(t) == 1 and t.isupper() and t.lower() in place]
    pairs = [(big, small) for big, small in pairs if big != small]
    if len(pairs) < 2:
        return None
    questions = [(big, small, b, answer) for big, small in pairs for answer, b in pairs if b != small]
    A, a, b, B = np.array(questions).T
    near = similarity(vectors[A] - vectors[a] + vectors[b], vectors, "cosine")  # (n, V)
    alone = similarity(vectors[b], vectors, "cosine")
    rows = np.arange(len(b))
    with_inputs = float((near.argmax(1) == B).mean())
    for scores in (near, alone):
        for given in (A, a, b):
            scores[rows, given] = -np.inf
    correct, baseline = (float((scores.argmax(1) == B).mean()) for scores in (near, alone))
    return CasePairs(len(pairs), len(questions), correct, with_inputs, baseline, 1 / max(1, len(vectors) - 3))


def _first(scores: Floats, without: set[int]) -> int:
    """The place of the highest score outside a set."""
    scores[list(without)] = -np.inf
    return int(scores.argmax())
