import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import GPTConfig
from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection import tables
from clearhead.inspection.tables import find_token, kept, labels, nearest, similarity, tables_of
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.byte import ByteTokenizer
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer


def by_hand(vectors, metric, k):
    """Neighbours by loops."""
    found = []
    for i, v in enumerate(vectors):
        if metric == "euclidean":
            near = [-float(np.sqrt(((v - w) ** 2).sum())) for w in vectors]
        else:
            near = [float(v @ w / (np.linalg.norm(v) * np.linalg.norm(w))) for w in vectors]
        others = [j for j in range(len(vectors)) if j != i]
        found.append(sorted(others, key=lambda j: (-near[j], j))[:k])
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_are_those_of_loops(metric, monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((40, 7))
    ids, near = nearest(vectors, metric, 6)
    assert ids.tolist() == by_hand(vectors, metric, 6)
    assert (np.diff(near) <= 0).all()
    monkeypatch.setattr(tables, "_CELLS", 200)  # in blocks
    np.testing.assert_array_equal(nearest(vectors, metric, 6)[0], ids)


def test_no_token_is_its_own_neighbour_even_among_equals():
    ids, _ = nearest(np.ones((4, 3)), "cosine", 5)
    assert ids.shape == (4, 3)
    assert all(i not in row for i, row in enumerate(ids.tolist()))


def test_a_vector_of_zeros_is_near_nobody():
    assert similarity(np.zeros((1, 2)), np.ones((3, 2)), "cosine").tolist() == [[0.0, 0.0, 0.0]]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(4, 12))
def test_a_turned_space_keeps_all_its_neighbours(seed, tokens):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((tokens, 5))
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    assert kept(nearest(vectors, "euclidean", 3)[0], vectors @ turn * 3.0 + 1.0) == 1.0


def gpt(**settings) -> GPTLanguageModel:
    return GPTLanguageModel(GPTConfig(vocab_size=9, block_size=4, n_embd=8, n_head=2, n_layer=1, **settings))


def test_tables_of_each_model():
    untied, tied = gpt(), gpt(tie_weights=True)
    assert [t.name for t in tables_of(untied)] == ["embedding", "head"]
    assert [t.name for t in tables_of(tied)] == ["both"]
    np.testing.assert_array_equal(tables_of(untied)[1].vectors, untied.lm_head.weight.detach().double().numpy())
    (rows,) = tables_of(BigramLanguageModel(5))
    np.testing.assert_allclose(rows.vectors.mean(1), 0, atol=1e-12)
    ngram = NgramLanguageModel.fit(np.array([0, 1, 2, 0, 1]), vocab_size=3, order=2)
    with pytest.raises(ConfigError, match="counts and has no embeddings; look into a gpt or a bigram"):
        tables_of(ngram)


def test_labels_are_all_different_and_white_space_shows():
    words = WordTokenizer.train(["now the king walks now\n the"])
    shown = labels(words)
    assert len(set(shown)) == len(shown) == words.vocab_size
    assert {"now", "␣now", "king", "the", "↵"} <= set(shown)
    assert labels(CharTokenizer.train(["a b\n"], eot=True)) == ("↵", "␣", "a", "b", "<|endoftext|>")
    assert labels(ByteTokenizer())[226] == "<0xE2>"


def test_a_person_finds_tokens():
    words = WordTokenizer.train(["now the king walks now and now"])
    counts = np.bincount(words.encode("now the king walks now and now"), minlength=words.vocab_size)
    texts = [words.decode([i]) for i in range(words.vocab_size)]
    assert texts[find_token("king", words, counts)] == " king"
    assert texts[find_token("now", words, counts)] == " now"
    letters = CharTokenizer.train(["a b\n"], eot=True)
    assert (
        find_token("␣", letters, np.ones(5, dtype=np.int64))
        == find_token(" ", letters, np.ones(5, dtype=np.int64))
        == 1
    )
    assert find_token("<|endoftext|>", letters, np.ones(5, dtype=np.int64)) == 4
    with pytest.raises(TokenizerError, match="'zebra' is no token of this model"):
        find_token("zebra", words, counts)
