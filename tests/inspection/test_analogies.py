import math

import numpy as np

from clearhead.inspection.analogies import Analogy, ask, case_pairs
from clearhead.inspection.tables import Table

RNG = np.random.default_rng(3)


def parallelogram() -> Table:
    """king = man + r, queen = woman + r, exactly; others far away."""
    man, woman, royal = RNG.standard_normal((3, 16))
    far = 5 * RNG.standard_normal((4, 16))
    return Table("embedding", "", np.array([man, woman, man + royal, woman + royal, *far]))


def test_an_analogy_that_holds_and_its_inputs():
    names = ("man", "woman", "king", "queen", "a", "b", "c", "d")
    answer = ask("run", parallelogram(), names, 0, 2, 1)
    assert answer.first == answer.ranked[0].token == "queen"
    assert math.isclose(answer.ranked[0].cosine, 1.0, rel_tol=1e-9)
    assert {r.token for r in answer.ranked if r.is_input} == {"man", "king", "woman"}
    assert [r.rank for r in answer.ranked] == sorted(r.rank for r in answer.ranked)
    said = str(Analogy("man", "king", "woman", (answer,)))
    assert "without the inputs queen" in said
    assert "(king)" in said


def test_inputs_keep_their_ranks_however_late():
    vectors = RNG.standard_normal((40, 3))
    answer = ask("run", Table("t", "", vectors), tuple(map(str, range(40))), 7, 8, 9)
    assert {r.token for r in answer.ranked if r.is_input} == {"7", "8", "9"}
    query = vectors[8] - vectors[7] + vectors[9]
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    for r in answer.ranked:
        assert r.rank == 1 + int((cosines > cosines[int(r.token)]).sum())


def test_agreement_counts_runs():
    names = ("man", "woman", "king", "queen", "a", "b", "c", "d")
    table = parallelogram()
    other = Table("embedding", "", table.vectors[[0, 1, 2, 4, 3, 5, 6, 7]])
    answers = tuple(ask(str(i), t, names, 0, 2, 1) for i, t in enumerate((table, table, other)))
    assert Analogy("man", "king", "woman", answers).agreement("embedding") == ("queen", 2, 3)


def test_case_pairs_of_a_space_that_has_them():
    letters = [c for x in "abcdefgh" for c in (x, x.upper())]
    base, up = RNG.standard_normal((8, 12)), RNG.standard_normal(12)
    vectors = np.array([row + shift for row in base for shift in (np.zeros(12), 4 * up)])
    found = case_pairs(vectors, tuple(letters))
    assert found is not None
    assert (found.letters, found.questions, found.correct) == (8, 56, 1.0)
    shuffled = case_pairs(RNG.standard_normal((16, 12)), tuple(letters))
    assert shuffled is not None
    assert shuffled.correct < 0.5
    assert case_pairs(vectors, tuple(f"word{i}" for i in range(16))) is None
