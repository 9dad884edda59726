"""What two texts share, held against looking for every substring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.evaluation.overlap import GAP, LENGTHS, Codes, Overlap, codes_of, overlaps

LETTERS = st.text("aab" + chr(GAP), max_size=40) | st.text("abcdé𝄞", max_size=40)


def windows(text: str, size: int) -> list[str]:
    """Every passage of a length, those that cover a gap left out."""
    found = [text[start : start + size] for start in range(len(text) - size + 1)]
    return [window for window in found if chr(GAP) not in window]


def by_hand(text: str, other: str) -> Overlap:
    """The slow twin: every passage of every length is looked for with `in`."""
    common = [w for size in range(1, len(text) + 1) for w in windows(text, size) if w in other]
    longest = max(map(len, common), default=0)
    places = {other.index(w): w for w in common if len(w) == longest}
    offset = min(places, default=None)
    sizes = [size for size in LENGTHS if windows(text, size)]
    return Overlap(
        characters=len(text) - text.count(chr(GAP)),
        longest=longest,
        passage="" if offset is None else places[offset],
        offset=offset,
        passages={size: len(windows(text, size)) for size in sizes},
        novel={size: float(np.mean([w not in other for w in windows(text, size)])) for size in sizes},
    )


def cut(text: str, size: int) -> list[Codes]:
    return [codes_of(text[start : start + size]) for start in range(0, len(text), size)]


@settings(max_examples=150, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=3), LETTERS, st.integers(1, 50))
def test_every_figure_is_what_a_search_by_hand_finds(texts, other, size):
    found = overlaps([codes_of(text) for text in texts], cut(other, size))
    assert found == [by_hand(text, other) for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_copied_passage_is_found_wherever_the_pieces_end(data):
    other = data.draw(st.text("abcde", min_size=1, max_size=300))
    start = data.draw(st.integers(0, len(other) - 1))
    text = data.draw(LETTERS) + other[start : start + data.draw(st.integers(1, 200))]
    [found] = overlaps([codes_of(text)], cut(other, data.draw(st.integers(1, 300))))
    assert found == by_hand(text, other)


def test_more_pairs_than_a_table_holds_are_searched_for():
    """A text of 3,000 different characters: its pairs of names have keys, no table."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 3_000)))
    other = text[:1_000] + text[500:2_500] + text[::-1]
    [found] = overlaps([codes_of(text)], cut(other, 700))
    assert (found.longest, found.offset) == (2_000, 1_000)
    assert found.passage == text[500:2_500]
    assert found.novel[1] == 0.0
    assert found.novel[2] == pytest.approx(500 / 2_999), "the pairs of the first 2,500 characters are there"


def test_a_text_of_one_letter():
    """Every window is everywhere: the worst case for a search by growing windows."""
    [found] = overlaps([codes_of("a" * 700)], cut("a" * 300 + "b" + "a" * 5_000, 1_000))
    assert (found.longest, found.offset) == (700, 301)
    assert set(found.novel.values()) == {0.0}


def test_nothing_to_compare():
    empty, alone = overlaps([codes_of(""), codes_of("abc")], [])
    assert empty == Overlap(0, 0, "", None, {}, {})
    assert (alone.longest, alone.offset, alone.novel) == (0, None, {1: 1.0, 2: 1.0, 3: 1.0})
    assert overlaps([], [codes_of("abc")]) == []
