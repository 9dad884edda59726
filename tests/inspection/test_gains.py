"""What each rung pays for each token: held against the model called on each window by hand, and against sums."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clearhead.config import GPTConfig, RunConfig
from clearhead.data.prepare import Prepared, prepare
from clearhead.evaluation.ladder import fit_bigram, fit_ngram
from clearhead.inspection.baselines import stream_losses
from clearhead.inspection.gains import gains
from clearhead.models.gpt import GPTLanguageModel

BLOCK, TARGETS = 8, 40


@pytest.fixture
def text(poem: Path) -> Prepared:
    return prepare(RunConfig(), [str(poem)])


def gpt_for(text: Prepared) -> GPTLanguageModel:
    torch.manual_seed(0)
    shape = GPTConfig(vocab_size=text.tokenizer.vocab_size, block_size=BLOCK, n_embd=16, n_head=2, n_layer=1)
    return GPTLanguageModel(shape).eval()


def test_the_tokens_are_where_the_validation_text_begins(text: Prepared) -> None:
    found = gains(gpt_for(text), text.tokenizer, text.data, targets=TARGETS)
    begins = text.tokenizer.decode(text.data.ids("val")[: BLOCK + TARGETS].tolist())
    assert found.before + "".join(found.tokens) == begins
    assert len(found.before) == BLOCK


def test_every_token_costs_what_the_model_says_there(text: Prepared) -> None:
    model, ids = gpt_for(text), np.asarray(text.data.ids("val")[: BLOCK + TARGETS], dtype=np.int64)
    costs = {rung.name: rung.nats for rung in gains(model, text.tokenizer, text.data, targets=TARGETS).rungs}
    for k in (1, 2, 4, 8):
        for i in range(0, TARGETS, 7):
            target = BLOCK + i
            with torch.no_grad():
                logits, _ = model(torch.from_numpy(ids[None, target - k : target]))
            wanted = F.cross_entropy(logits[0, -1:], torch.from_numpy(ids[target : target + 1]))
            assert costs[f"gpt {k}"][i] == pytest.approx(float(wanted), abs=1e-5)
    ngram = fit_ngram(text.data, text.tokenizer).model
    bigram, _ = fit_bigram(text.data, text.tokenizer)
    stream = text.data.ids("val")[: BLOCK + TARGETS]
    for name, counted in (("unigram", ngram.to_order(1)), ("bigram", bigram), ("ngram", ngram)):
        np.testing.assert_allclose(costs[name], stream_losses(counted, stream)[BLOCK - 1 :], atol=1e-6)
    np.testing.assert_allclose(costs["uniform"], np.log(text.tokenizer.vocab_size))


def test_gains_along_the_ladder_add_up(text: Prepared) -> None:
    rungs = {rung.name: rung for rung in gains(gpt_for(text), text.tokenizer, text.data, targets=TARGETS).rungs}
    way, at = [], "gpt 8"
    while (over := rungs[at].over) is not None:
        way.append(rungs[over].nats - rungs[at].nats)
        at = over
    assert at == "uniform"
    np.testing.assert_allclose(sum(way), rungs["uniform"].nats - rungs["gpt 8"].nats, atol=1e-9)


def test_a_text_shorter_than_the_window_has_targets_too(text: Prepared, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("the wind went over the hill and the hill was still. " * 2, encoding="utf-8")
    small = prepare(RunConfig(), [str(short)])
    bigram, _ = fit_bigram(small.data, small.tokenizer)
    assert len(gains(bigram, small.tokenizer, small.data).tokens) > 0
    model = gpt_for(small)
    assert len(gains(model, small.tokenizer, small.data).tokens) > 0
