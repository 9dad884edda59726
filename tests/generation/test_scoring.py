"""A text scored in windows has the log-probabilities that drawing it token by token would have met."""

import pytest
import torch

from clearhead.config import GPTConfig
from clearhead.generation.batch import logits_after
from clearhead.generation.scoring import score_windows
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel

V = 11


def model_of(kind: str) -> LanguageModel:
    torch.manual_seed(1)
    ids = torch.randint(0, V, (400,)).numpy().astype("uint16")
    ngram = NgramLanguageModel.fit(ids, V, 4)
    gpt = GPTLanguageModel(GPTConfig(vocab_size=V, block_size=8, n_embd=16, n_head=2, n_layer=2))
    for weight in gpt.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    models = {"ngram": ngram, "gpt": gpt, "mixture": MixtureLanguageModel(ngram, gpt, 0.4)}
    return models[kind] if kind in models else BigramLanguageModel(V)


@pytest.mark.parametrize("kind", ["bigram", "ngram", "gpt", "mixture"])
@pytest.mark.parametrize("length", [1, 2, 8, 9, 10, 13, 14, 40])
def test_scores_are_those_of_drawing(kind: str, length: int):
    model = model_of(kind)
    ids = torch.randint(0, V, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    at = 1
    for position, logprobs in score_windows(model, ids):
        assert position == at
        for i in range(len(logprobs)):
            slow = logits_after(model, ids[: at + i]).double().log_softmax(-1)[0]
            torch.testing.assert_close(logprobs[i], slow, atol=1e-5, rtol=0)
        at += len(logprobs)
    assert at == length


def test_a_model_without_windows_is_scored_in_stretches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clearhead.generation.scoring.TOKENS_PER_CALL", 7)
    test_scores_are_those_of_drawing("ngram", 40)
