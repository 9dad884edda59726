import random

import pytest

from clearhead.data.facts import text_warnings

WORDS = ("wind", "rain", "hill", "road", "moon", "child", "river", "stone", "light", "house", "tree")


def prose(characters: int) -> str:
    """Random sentences over a few words: compresses about as prose does."""
    rng = random.Random(1)
    text = ""
    while len(text) < characters:
        letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=5))
        text += rng.choice(WORDS) + " " + letters + ("\n" if rng.random() < 0.1 else " ")
    return text


def test_an_ordinary_text_has_no_warnings():
    assert text_warnings([prose(50_000)]) == []


@pytest.mark.parametrize(
    ("documents", "warning"),
    [
        (["a b"], "only 3 characters"),
        (["all work and no play\n" * 2_000], "repetitive: it compresses to"),
        ([prose(20_000)] * 3, "2 of 3 documents are copies"),
        ([prose(50_000).replace("\n", " ")], "one giant line of 50,0"),
        ([prose(20_000) + "x\r\ny\rz"], "1 CRLF, 1 CR"),
    ],
)
def test_each_oddity_has_its_line(documents, warning):
    assert any(warning in line for line in text_warnings(documents))
    assert all("\n" not in line for line in text_warnings(documents))


def test_windows_line_ends_alone_are_not_mixed():
    assert text_warnings([prose(50_000).replace("\n", "\r\n")]) == []


def test_many_lines_as_documents_are_no_giant_line():
    assert text_warnings(sorted(set(prose(100_000).split()))) == []
