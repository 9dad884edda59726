import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.api import Run
from clearhead.config import SamplingConfig
from clearhead.errors import ConfigError, TokenizerError
from clearhead.generation.generate import generate
from clearhead.generation.sampling import probabilities
from clearhead.inspection import next as module
from clearhead.inspection.next import next_token
from clearhead.inspection.trace import DisagreementError
from clearhead.tokenizers.word import WordTokenizer
from inspection.tiny_models import TOKENIZER, lively, untyped
from runs.trained import copy_of

MODEL = lively()
PROMPT = "abcab had"


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([0.0, 0.01, 0.5, 1.0, 1.7, 50.0]),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.floats(0.05, 1.0)),
    st.integers(0, 9999),
)
def test_the_token_is_the_one_that_generate_draws(temperature, top_k, top_p, seed):
    view = next_token(MODEL, TOKENIZER, PROMPT, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    idx = torch.from_numpy(TOKENIZER.encode(PROMPT).astype("int64"))[None]
    drawn = generate(MODEL, idx, 1, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    assert view.drawn == int(drawn[0, -1])
    assert view.chosen.low <= view.u < view.chosen.high
    with torch.no_grad():
        logits = MODEL(idx).logits[:, -1]
    expected = probabilities(logits, temperature, top_k, top_p)[0].tolist()
    by_id = sorted(view.candidates, key=lambda c: c.id)
    assert [c.probability for c in by_id] == pytest.approx(expected, abs=1e-6)
    assert all((c.cut == "") == (c.probability > 0) for c in by_id)
    for before, after in itertools.pairwise(by_id):
        assert before.high == after.low
    assert (by_id[0].low, by_id[-1].high) == (0.0, pytest.approx(1.0))


@pytest.mark.parametrize("kind", ["gpt", "bigram", "ngram", "mixture"])
@pytest.mark.parametrize("row", [0, 3])
def test_every_model_as_sample_of_a_seed(kind, row, tmp_path):
    run = Run(copy_of(kind, tmp_path))
    view = untyped(run.next("over the hill", temperature=0.8, top_k=10, seed=3, row=row).view)
    text = next(iter(run.stream("over the hill", row=row, temperature=0.8, top_k=10, seed=3, max_new_tokens=1)))
    assert run.tokenizer.decode([view.drawn]) == text
    first = next(iter(run.stream("", row=row, max_new_tokens=1)))
    assert run.tokenizer.decode([untyped(run.next(row=row).view).drawn]) == first


def test_the_stages_by_hand():
    view = next_token(MODEL, TOKENIZER, PROMPT, temperature=0.5, top_k=5, top_p=0.6)
    by_id = sorted(view.candidates, key=lambda c: c.id)
    logits = torch.tensor([c.logit for c in by_id]).double()
    assert [c.before for c in by_id] == pytest.approx(logits.softmax(0).tolist())
    assert [c.heated for c in by_id] == pytest.approx((logits / 0.5).softmax(0).tolist())
    assert [c.scaled for c in by_id] == pytest.approx((logits / 0.5).tolist())
    assert sum(c.cut == "top-k" for c in by_id) == len(by_id) - 5
    assert sum(c.cut == "top-p" for c in by_id) == 5 - sum(c.probability > 0 for c in by_id)
    for spread, p in zip(view.spread, (logits.softmax(0), (logits / 0.5).softmax(0)), strict=False):
        assert spread.entropy == pytest.approx(-float((p * p.log2()).sum()))
        assert spread.choices == pytest.approx(2**spread.entropy)
    assert view.spread[2].left == sum(c.probability > 0 for c in by_id)
    assert view.check < 1e-12


def test_temperature_zero_and_one():
    cold = next_token(MODEL, TOKENIZER, PROMPT, temperature=0)
    assert (cold.spread[1].entropy, cold.spread[1].choices) == (0.0, 1.0)
    assert cold.chosen == cold.candidates[0]
    assert {c.cut for c in cold.candidates[1:]} == {"T = 0"}
    even = next_token(MODEL, TOKENIZER, PROMPT, temperature=1e6)
    assert even.spread[1].entropy == pytest.approx(math.log2(len(even.candidates)), abs=1e-6)
    assert "T = 1, seed 1337, row 0" in str(next_token(MODEL, TOKENIZER, PROMPT))


def test_a_long_prompt_and_an_unknown_word():
    long = next_token(MODEL, TOKENIZER, PROMPT * 9)
    assert "the prompt has 81 tokens: the model sees only its end, 24 at most" in str(long)
    words = WordTokenizer.train(["a b c d e f g h i j k l"], unk=True)
    model = lively(vocab_size=words.vocab_size)
    view = next_token(model, words, "a zebra")
    assert "read as unknown: " in str(view)
    assert [c.cut for c in view.candidates if c.id == words.unk_id] == ["never written"]
    assert view.to_dict()["candidates"][-1]["logit"] is None


def test_bad_input():
    with pytest.raises(ConfigError, match="the prompt is empty"):
        next_token(MODEL, TOKENIZER, "")
    with pytest.raises(TokenizerError, match="the model has never seen 'é'; change the prompt"):
        next_token(MODEL, TOKENIZER, "é")
    with pytest.raises(ConfigError, match="row=-1"):
        next_token(MODEL, TOKENIZER, "a", row=-1)
    with pytest.raises(ConfigError, match="temperature=-1"):
        next_token(MODEL, TOKENIZER, "a", temperature=-1)
    assert next_token(MODEL, TOKENIZER, "a", seed=SamplingConfig.seed) == next_token(MODEL, TOKENIZER, "a")


def test_another_token_than_generates_is_refused(monkeypatch):
    monkeypatch.setattr(module, "draw", lambda probs, u: probs.argmin(-1))
    with pytest.raises(DisagreementError, match="generate does not draw"):
        next_token(MODEL, TOKENIZER, PROMPT, seed=1)
