import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.config import MIN_SPLIT_CHARACTERS, DataConfig, TokenizerConfig
from clearhead.data.corpus import Corpus, read_corpus, split, text_sha256
from clearhead.data.sources import Source

PETS = "I love dogs\nI love cats\nDogs and cats are pets"


def corpus_of(*documents: str) -> Corpus:
    return split(Source("test", documents, ("somewhere",), ("a notice",)))


def total(documents: tuple[str, ...]) -> int:
    return sum(map(len, documents))


def test_one_document_is_split_by_position():
    text = "".join(chr(48 + i % 75) for i in range(10_000))
    corpus = corpus_of(text)
    assert corpus.train == (text[:9_000],)
    assert corpus.fit == (text[:8_820],)
    assert corpus.dev == (text[8_820:9_000],)
    assert corpus.val == (text[9_000:],)
    assert (corpus.separated, corpus.paths, corpus.notices) == (False, ("somewhere",), ("a notice",))


def test_a_few_documents_are_each_split_by_position():
    texts = tuple(letter * 2_000 for letter in "abc")
    corpus = corpus_of(*texts)
    assert corpus.separated
    assert corpus.val == tuple(letter * 200 for letter in "abc")
    assert corpus.dev == tuple(letter * 36 for letter in "abc")
    assert tuple(f + d for f, d in zip(corpus.fit, corpus.dev, strict=True)) == corpus.train


def test_a_text_too_short_is_all_trained_on_and_says_so():
    corpus = corpus_of(PETS)
    assert corpus.train == corpus.fit == (PETS,)
    assert (corpus.dev, corpus.val, corpus.val_sha256) == ((), (), "")
    assert corpus.notices[1].startswith("no validation possible, these are training numbers")
    assert corpus.notices[2].startswith("too short for a dev split")


@pytest.mark.parametrize(
    ("length", "has_val", "has_dev"), [(490, False, False), (491, True, False), (2_800, True, True)]
)
def test_a_split_exists_from_fifty_characters_on(length, has_val, has_dev):
    corpus = corpus_of("ab" * (length // 2) + "c" * (length % 2))
    assert (bool(corpus.val), bool(corpus.dev)) == (has_val, has_dev)


def test_many_documents_are_split_whole_by_hash():
    documents = tuple(f"document number {i}, with some text" for i in range(1_000))
    corpus = corpus_of(*documents)
    assert sorted(corpus.train + corpus.val) == sorted(documents)
    assert sorted(corpus.fit + corpus.dev) == sorted(corpus.train)
    assert total(corpus.val) == pytest.approx(0.1 * total(documents), abs=40)
    assert total(corpus.dev) == pytest.approx(0.02 * total(corpus.train), abs=40)
    for part in (corpus.fit, corpus.dev, corpus.val):
        numbers = [documents.index(document) for document in part]
        with_the_next = np.corrcoef(numbers[:-1], numbers[1:])[0, 1] if len(part) > 50 else 0
        assert abs(with_the_next) < 0.25, "neighbours in a sorted list are no neighbours here"


def test_the_split_is_by_text_whatever_the_order():
    documents = [f"document number {i}, with some text" for i in range(400)]
    assert corpus_of(*documents).val == corpus_of(*reversed(documents)).val
    assert corpus_of(*documents).fit == corpus_of(*reversed(documents)).fit


@given(st.lists(st.text(min_size=1, max_size=40), min_size=20, max_size=80), st.integers(1, 3))
def test_equal_documents_share_a_split_and_none_is_lost(texts, copies):
    documents = texts * copies
    corpus = corpus_of(*documents)
    parts = [set(part) for part in (corpus.fit, corpus.dev, corpus.val)]
    assert sum(map(len, parts)) == len(set(documents))
    assert len(corpus.fit + corpus.dev + corpus.val) == len(documents)
    assert set(corpus.train) == parts[0] | parts[1]
    assert corpus.fit


@given(st.lists(st.text(min_size=1, max_size=3_000), min_size=1, max_size=19))
def test_few_documents_lose_nothing(documents):
    corpus = corpus_of(*documents)
    assert total(corpus.train) + total(corpus.val) == total(tuple(documents))
    assert total(corpus.fit) + total(corpus.dev) == total(corpus.train)
    assert all(corpus.fit + corpus.dev + corpus.val), "no document is empty"


def test_one_long_document_among_many_stays_in_training():
    documents = ["a long one " * 10_000, *(f"short document number {i}" for i in range(600))]
    for seed in range(5):
        corpus = corpus_of(*documents, f"seed {seed}")
        assert documents[0] in corpus.fit
        assert MIN_SPLIT_CHARACTERS <= total(corpus.val) <= 0.2 * total(tuple(documents))


def test_copies_of_one_document_cannot_be_validated_on():
    corpus = corpus_of(*["the same text in every document"] * 50)
    assert corpus.val == corpus.dev == ()
    assert "no validation possible" in corpus.notices[1]


def test_the_fingerprint_of_a_file_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("grüße\r\n".encode() * 300_000)
    corpus = read_corpus([str(path)], DataConfig(), TokenizerConfig())
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert corpus.val_sha256 == hashlib.sha256(corpus.val[0].encode()).hexdigest()


def test_fingerprints_tell_documents_apart():
    assert len({text_sha256(d) for d in (["ab"], ["a", "b"], ["b", "a"], ["ab", ""])}) == 4


def test_lowercase_changes_text_and_fingerprint(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(PETS)
    lower = TokenizerConfig(tokenizer="word", lowercase=True)
    corpus = read_corpus([str(path)], DataConfig(), lower)
    assert corpus.train == (PETS.lower(),)
    assert corpus.sha256 != read_corpus([str(path)], DataConfig(), TokenizerConfig()).sha256


def test_the_lectures_split_of_tiny_shakespeare(shakespeare):
    corpus = read_corpus([str(shakespeare)], DataConfig(), TokenizerConfig())
    assert (total(corpus.train), total(corpus.val), total(corpus.dev)) == (1_003_854, 111_540, 20_078)
    assert corpus.sha256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def test_names_are_split_without_leaks(names):
    corpus = read_corpus([str(names)], DataConfig(lines=True), TokenizerConfig())
    assert len(corpus.train) + len(corpus.val) == 32_033
    assert not set(corpus.val) & set(corpus.train)
    assert not set(corpus.dev) & set(corpus.fit)
    assert total(corpus.val) == pytest.approx(0.1 * (228_145 - 32_033), abs=20)


def test_the_split_does_not_depend_on_pythons_hash_seed():
    code = (
        "from clearhead.data.corpus import split; from clearhead.data.sources import Source;"
        "print(split(Source('x', tuple(f'document number {i}' for i in range(200)), ())).val_sha256)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != b"\n"
