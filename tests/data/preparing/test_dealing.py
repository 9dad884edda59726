"""The deal of documents that are never sorted is `split`'s."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import MOST_DEV_CHARACTERS, MOST_VAL_CHARACTERS
from clearhead.data.corpus import rank, split
from clearhead.data.preparing import dealing
from clearhead.data.preparing.dealing import deal, place_of_rank
from clearhead.data.preparing.segments import cuts
from clearhead.data.sources import Source


def dealt(documents: list[str], pieces: int = 3) -> dict[str, list[str]]:
    """The documents of each split, in the order of their hashes."""
    places = np.array([place_of_rank(rank(document)) for document in documents], dtype=np.uint64)
    lengths = np.array([len(document) for document in documents], dtype=np.int64)

    def some_at_a_time():
        return zip(np.array_split(places, pieces), np.array_split(lengths, pieces), strict=True)

    found = deal(some_at_a_time, int(lengths.sum()))
    splits: dict[str, list[str]] = {"train": [], "dev": [], "val": []}
    in_order = sorted(documents, key=rank)
    numbers = found.splits(np.array([place_of_rank(rank(document)) for document in in_order], dtype=np.uint64))
    for document, number in zip(in_order, numbers.tolist(), strict=True):
        splits[dealing.SPLITS[number]].append(document)
    return splits


def assert_as_split(documents: list[str]) -> dict[str, list[str]]:
    corpus, found = split(Source("test", tuple(documents), ())), dealt(documents)
    assert found == {"train": list(corpus.fit), "dev": list(corpus.dev), "val": list(corpus.val)}
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300)), min_size=20, max_size=150))
def test_any_documents_are_dealt_as_split_does(described):
    assert_as_split([f"{number}:" + "x" * length for number, length in described])


def test_copies_stay_together_and_too_many_of_them_in_training():
    documents = [f"document {n} of many" * 3 for n in range(200)]
    first = min(documents, key=rank)
    found = assert_as_split([*documents, *[first] * 60])
    assert found["train"].count(first) == 61, "together they are larger than the whole share"
    assert found["val"]
    assert found["dev"]
    again = assert_as_split([*documents, *[first] * 3])
    assert again["val"].count(first) == 4


def test_bins_that_are_full_are_taken_whole_and_the_last_is_sorted(monkeypatch):
    documents = [f"number {n}" for n in range(5_000)]
    sorted_bins = []
    real = dealing._bin
    monkeypatch.setattr(dealing, "_bin", lambda *asked: sorted_bins.append(asked[1]) or real(*asked))
    assert_as_split(documents)
    assert 1 <= len(sorted_bins) <= 6


def test_what_does_not_take_part_leaves_more_to_be_held_back():
    documents = [f"document {n}" * 10 for n in range(30)]
    places = np.array([place_of_rank(rank(document)) for document in documents], dtype=np.uint64)
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    found = deal(lambda: [(places, lengths)], 1_000_000)
    assert {dealing.SPLITS[number] for number in found.splits(places)} == {"val"}
    assert found.dev_end == found.val_end, "nothing is left for dev"


@pytest.mark.parametrize("characters", [5, 49, 499, 500, 5_000, 99_999])
def test_a_document_is_cut_where_split_cuts(characters):
    text = "x" * characters
    corpus = split(Source("test", (text,), ()))
    (cut,) = cuts([characters])
    assert (cut.dev, cut.val, cut.end) == (len(corpus.fit[0]), len(corpus.train[0]), characters)


def test_of_a_very_large_text_no_more_is_held_back():
    (cut,) = cuts([10**12])
    assert cut.end - cut.val == pytest.approx(MOST_VAL_CHARACTERS, abs=200)
    assert cut.val - cut.dev == pytest.approx(MOST_DEV_CHARACTERS, abs=200)
    text = "x" * 120_000_000
    corpus = split(Source("test", (text,), ()))
    assert len(corpus.val[0]) == pytest.approx(MOST_VAL_CHARACTERS, abs=1)
    (cut,) = cuts([len(text)])
    assert (cut.val, cut.dev) == (len(corpus.train[0]), len(corpus.fit[0]))
