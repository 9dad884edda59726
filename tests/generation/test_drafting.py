"""What a mixture's n-gram guesses changes no text, and spares readings."""

import numpy as np
import pytest
import torch
from test_batch import V, gpt, prompt, settings
from torch import nn

from clearhead.config import SamplingConfig
from clearhead.generation import drafting
from clearhead.generation.batch import Batch, logits_after
from clearhead.generation.drafting import drafts_of
from clearhead.models import decoding
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.compiling import library
from clearhead.models.decoding import decoder_of
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.mixture_decoding import CompiledMixtureDecoder
from clearhead.models.ngram import NgramLanguageModel
from clearhead.models.weights import with_weights

pytestmark = pytest.mark.skipif(library() is None, reason="there is no C compiler here")


def mixture(eot: int | None = None) -> MixtureLanguageModel:
    """An n-gram that knows its text well, and the GPT of other tests."""
    ids = np.random.default_rng(3).integers(0, V, 60).tolist() * 5
    return MixtureLanguageModel(NgramLanguageModel.fit(np.array(ids), V, 3, eot_id=eot), gpt(), 0.7).eval()


def text(batch: Batch, number: int, tokens: int = 30) -> list[int]:
    """Far beyond the window of 8."""
    slot = batch.admit(prompt(number), settings(number), row=number % 3)
    drawn = [batch.step()[0].token for _ in range(tokens)]
    batch.release(slot)
    return drawn


@pytest.fixture(autouse=True)
def small_models_are_drafted(monkeypatch) -> None:
    monkeypatch.setattr(drafting, "LARGE", 0)


@pytest.fixture
def readings(monkeypatch) -> list[int]:
    """How many tokens each reading of a batch that guesses took."""
    sizes: list[int] = []
    own = CompiledMixtureDecoder.draft

    def counted(self, token, chances, temperature):
        sizes.append(1 + len(chances))
        return own(self, token, chances, temperature)

    monkeypatch.setattr(CompiledMixtureDecoder, "draft", counted)
    return sizes


@pytest.mark.parametrize("eot", [None, 4])
def test_texts_are_those_without_guesses(eot, readings):
    """Of 200 prompts, with every setting of sampling, over many windows."""
    model = mixture(eot)
    guessing, ordinary = Batch(model, 2), Batch(model, 2, guess=False)
    for number in range(200):
        assert text(guessing, number) == text(ordinary, number), number
    assert set(readings) == {1, 2, 3, 4}, "near the end of a window fewer are read"
    assert len(readings) < 0.8 * 200 * 30, "guesses are right often enough to spare readings"


def test_company_ends_guessing_and_changes_nothing(readings):
    texts = []
    for batch in (Batch(mixture(), 2), Batch(mixture(), 2, guess=False)):
        first = batch.admit(prompt(3), SamplingConfig(seed=3))
        drawn = [batch.step()[0].token for _ in range(6)]
        second = batch.admit(prompt(5), SamplingConfig(seed=5, repetition_penalty=1.2))
        taken = len(readings)
        pairs = [sorted(batch.step()) for _ in range(5)]
        assert len(readings) == taken, "two rows are read as they come"
        batch.release(first)
        rest = [batch.step()[0].token for _ in range(9)]
        batch.release(second)
        texts.append((drawn, pairs, rest))
    assert texts[0] == texts[1]
    assert readings


def test_log_probabilities_are_the_models_own():
    model, batch = mixture(), Batch(mixture(), 1)
    ids = prompt(9)
    batch.admit(ids, SamplingConfig(seed=1, logprobs=2))
    for _ in range(25):
        expected = logits_after(model, ids)[0].double().log_softmax(-1)
        (drawn,) = batch.step()
        assert drawn.logprob == pytest.approx(float(expected[drawn.token]), abs=1e-5)
        assert [pair[1] for pair in drawn.top] == pytest.approx(expected.topk(2).values.tolist(), abs=1e-5)
        ids.append(drawn.token)


@torch.no_grad()
def test_what_is_drafted_is_forgotten_until_it_counts():
    model, ids = mixture(), [1, 2, 3, 4]
    cache, other = model.new_cache(1), model.new_cache(1)
    decode, ordinary = decoder_of(model, cache), decoder_of(model, other)
    assert isinstance(decode, CompiledMixtureDecoder)
    for token in ids:
        decode([token])
        ordinary([token])
    drafted = decode.draft(5, [0.1, 0.5, 0.9], 1.0)
    assert cache.lengths.tolist() == cache.history.lengths.tolist() == [4]
    assert drafted.ids[0] == 5
    for index, token in enumerate(drafted.ids):
        torch.testing.assert_close(decode.accept(drafted, index), ordinary([token]), atol=1e-5, rtol=1e-5)
    assert cache.lengths.tolist() == cache.history.lengths.tolist() == [8]
    assert torch.equal(cache.history.tokens, other.history.tokens)
    with pytest.raises(ValueError, match="refill its window"):
        decode.draft(5, [0.5], 1.0)


def test_the_third_token_follows_its_distribution():
    """Chi-square of 4,000 seeds against the sum over all beginnings; the texts are drawn with guesses."""
    model, seeds = mixture(), 4_000
    expected = torch.zeros(V, dtype=torch.float64)
    one = logits_after(model, [1])[0].double().softmax(-1)
    for a in range(V):
        two = logits_after(model, [1, a])[0].double().softmax(-1)
        for b in range(V):
            expected += one[a] * two[b] * logits_after(model, [1, a, b])[0].double().softmax(-1)
    batch, counts = Batch(model, 1), np.zeros(V)
    for seed in range(seeds):
        slot = batch.admit([1], SamplingConfig(seed=seed))
        counts[[batch.step()[0].token for _ in range(3)][-1]] += 1
        batch.release(slot)
    wanted = expected.numpy() * seeds
    assert ((counts - wanted) ** 2 / wanted).sum() < 29.6, "the 0.999 quantile at 10 degrees of freedom"


def test_only_what_pays_is_drafted(monkeypatch):
    model = mixture()

    def drafts(other) -> bool:
        return drafts_of(decoder_of(other, other.new_cache(1))) is not None

    assert drafts(model)
    assert drafts(with_weights(model, "bfloat16"))
    assert not drafts(with_weights(model, "int8"))
    assert not drafts(model.gpt)
    assert not drafts(BigramLanguageModel(V))
    bytes_of_matrices = sum(layer.weight.nbytes for layer in model.modules() if isinstance(layer, nn.Linear))
    for large, expected in ((bytes_of_matrices, True), (bytes_of_matrices + 1, False)):
        monkeypatch.setattr(drafting, "LARGE", large)
        assert drafts(model) == expected
    monkeypatch.setattr(drafting, "LARGE", 0)
    monkeypatch.setattr(decoding, "library", lambda: None)
    assert not drafts(model)
