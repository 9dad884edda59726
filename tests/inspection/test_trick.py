import numpy as np
import pytest

from clearhead.errors import ConfigError, TokenizerError
from clearhead.inspection import trick as module
from clearhead.inspection.trick import trick
from clearhead.models.bigram import BigramLanguageModel
from inspection.tiny_models import KINDS, TOKENIZER, lively

TEXT = "bad cab fed"


@pytest.mark.parametrize("kind", KINDS)
def test_four_ways_are_one(kind):
    model = lively(kind)
    view = trick(model, TOKENIZER, TEXT)
    x = model.token_embedding_table.weight.detach().double().numpy()[TOKENIZER.encode(TEXT)]
    for t in range(len(TEXT)):
        np.testing.assert_allclose(view.every[t], x[: t + 1].mean(0), atol=1e-14)
    assert [way.name for way in view.ways][1:] == ["triangular matrix", "softmax of a mask", "attention, equal keys"]
    assert max(way.difference for way in view.ways) < 1e-12
    np.testing.assert_allclose(view.weights, np.tri(8) / np.arange(1, 9)[:, None], atol=1e-14)
    for t, row in enumerate(view.scores):
        np.testing.assert_allclose(row[: t + 1], row[0], atol=1e-9, err_msg="equal keys, equal scores")
    assert np.isneginf(view.scores[np.triu_indices(8, 1)]).all()


def test_one_hot_averages_are_shares_so_far():
    view = trick(BigramLanguageModel(TOKENIZER.vocab_size), TOKENIZER, "abba")
    assert view.channels == ("a", "b")
    assert view.averages.tolist() == pytest.approx(np.array([[1, 0], [1 / 2, 1 / 2], [1 / 3, 2 / 3], [1 / 2, 1 / 2]]))
    assert "one-hot, for the bigram has no embeddings" in str(view)


def test_long_and_short_texts(monkeypatch):
    assert trick(lively(), TOKENIZER, "a").weights.tolist() == [[1.0]]
    assert "these are the last 24" in str(trick(lively(), TOKENIZER, "abc" * 30))
    monkeypatch.setattr(module, "LONGEST", 10)
    long = trick(BigramLanguageModel(TOKENIZER.vocab_size), TOKENIZER, "abc" * 30)
    assert len(long.tokens) == len(long.every) == 10
    assert "the text has 90 tokens: these are the last 10" in str(long)


def test_bad_input():
    with pytest.raises(ConfigError, match="the text is empty"):
        trick(lively(), TOKENIZER, "")
    with pytest.raises(TokenizerError):
        trick(lively(), TOKENIZER, "é")
