"""The loss view: surprisal, groups, waterfall, against the evaluator and against sums done another way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.config import GPTConfig, RunConfig
from clearhead.data.prepare import prepare
from clearhead.data.tokens import TokenDataset
from clearhead.errors import ConfigError, TokenizerError
from clearhead.evaluation.ladder import score_split
from clearhead.evaluation.loss import split_loss, token_losses
from clearhead.inspection.baselines import count_baselines, stream_losses
from clearhead.inspection.groups import group, score
from clearhead.inspection.loss import Loss, loss
from clearhead.inspection.surprisal import LN2, find_text, surprisal
from clearhead.inspection.tables import labels
from clearhead.inspection.waterfall import lengths, waterfall
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel
from clearhead.tokenizers.base import Tokenizer

BLOCK = 8
Text = tuple[TokenDataset, Tokenizer]


@pytest.fixture
def text(poem: Path) -> Text:
    prepared = prepare(RunConfig(), [str(poem)])
    return prepared.data, prepared.tokenizer


def gpt_for(tokenizer: Tokenizer) -> GPTLanguageModel:
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=BLOCK, n_embd=16, n_head=2, n_layer=1)
    return GPTLanguageModel(config).eval()


def models_for(data: TokenDataset, tokenizer: Tokenizer) -> dict[str, LanguageModel]:
    gpt, ngram = gpt_for(tokenizer), NgramLanguageModel.fit(data.ids("counts"), tokenizer.vocab_size, 4)
    torch.manual_seed(1)
    table = BigramLanguageModel(tokenizer.vocab_size)
    return {"gpt": gpt, "ngram": ngram, "mixture": MixtureLanguageModel(ngram, gpt, 0.5), "bigram": table}


@pytest.mark.parametrize("kind", ["gpt", "ngram", "mixture", "bigram"])
def test_a_short_text_is_what_one_call_says(text: Text, kind: str) -> None:
    data, tokenizer = text
    model = models_for(data, tokenizer)[kind]
    baselines = count_baselines(data, tokenizer, model, None)
    passage = find_text("the wind", model, tokenizer, data, baselines.ngram)
    found = surprisal(model, passage, baselines)
    with torch.no_grad():
        log_p = model(passage.idx[:, :-1]).logits[0].log_softmax(-1)
    expected = -log_p[torch.arange(len(found)), passage.idx[0, 1:]].numpy() / LN2
    assert found.bits == pytest.approx(expected, abs=1e-5)
    assert found.tokens == tuple("he␣wind")
    for row, choices in zip(log_p, found.choices, strict=True):
        assert [p for _, p in choices] == pytest.approx(row.exp().topk(4).values.tolist(), abs=1e-6)


@pytest.mark.parametrize("kind", ["gpt", "mixture"])
def test_long_texts_are_read_in_windows_that_overlap_by_half(text: Text, kind: str) -> None:
    data, tokenizer = text
    model = models_for(data, tokenizer)[kind]
    baselines = count_baselines(data, tokenizer, model, None)
    passage = find_text("and the rain came after the wind", model, tokenizer, data, baselines.ngram)
    bits = surprisal(model, passage, baselines).bits
    ids = passage.idx[0]
    for target in range(1, len(ids)):
        # the window that the rule names: the first that holds the target
        start = 0 if target <= BLOCK else -(-(target - BLOCK) // (BLOCK // 2)) * (BLOCK // 2)
        cache = model.cache_after(ids[None, max(0, start - model.lookback) : start]) if model.lookback else None
        with torch.no_grad():
            said = model(ids[None, start:target], cache=cache).logits[0, -1].log_softmax(-1)
        assert bits[target - 1] == pytest.approx(-float(said[ids[target]]) / LN2, abs=1e-4)


@pytest.mark.parametrize("kind", ["gpt", "ngram", "mixture", "bigram"])
def test_scores_are_the_ladders(text: Text, kind: str) -> None:
    data, tokenizer = text
    model = models_for(data, tokenizer)[kind]
    scores = score(model, data, count_baselines(data, tokenizer, model, None), 1 << 20)
    assert len(scores.bits) == len(data.ids("val")) - 1
    assert scores.bits.mean() * LN2 == pytest.approx(split_loss(model, data).nats_per_token, abs=1e-5)
    assert "all" in scores.said


def test_counted_losses_are_those_of_forward(text: Text) -> None:
    data, tokenizer = text
    table = BigramLanguageModel.from_counts(data.ids("counts"), tokenizer.vocab_size)
    expected = token_losses(table, data, "val").numpy()
    assert stream_losses(table, data.ids("val")) == pytest.approx(expected, abs=1e-6)


def test_groups_are_sums_over_targets(text: Text) -> None:
    data, tokenizer = text
    gpt, names = gpt_for(tokenizer), labels(tokenizer)
    scores = score(gpt, data, count_baselines(data, tokenizer, gpt, None), 1 << 20)
    found = group(scores, names, BLOCK)
    e = names.index("e")
    at = scores.ids[1:] == e
    mine = next(one for one in found.by_token if one.name == "e")
    assert mine.count == at.sum()
    assert mine.bits == pytest.approx(scores.bits[at].mean())
    saved = (scores.ngram - scores.bits)[at]
    assert mine.error == pytest.approx(saved.std(ddof=1) / np.sqrt(at.sum()))
    assert mine.won == pytest.approx(saved.sum())
    assert sum(one.count for one in found.by_preceding) == len(scores.bits)
    assert [one.name for one in found.by_position] == ["1", "2", "3-4", "5-8"]
    assert found.by_position[0].bits == pytest.approx(scores.bits[::BLOCK].mean())
    assert found.sum_error < 1e-9
    worst = found.surprises[0]
    assert worst.bits == scores.bits.max()
    assert names[int(scores.ids[worst.position])] == worst.token
    assert found.wins[0].ngram - found.wins[0].bits == pytest.approx((scores.ngram - scores.bits).max())


def test_the_waterfall_is_each_target_after_its_last_k_tokens(text: Text) -> None:
    data, tokenizer = text
    gpt, names = gpt_for(tokenizer), labels(tokenizer)
    ngram = NgramLanguageModel.fit(data.ids("counts"), tokenizer.vocab_size, 4)
    mixture = MixtureLanguageModel(ngram, gpt, torch.tensor([0.3, -0.2, 0.5, -0.4, 0.1, 0.2]))
    found = waterfall(gpt, mixture, data, count_baselines(data, tokenizer, gpt, mixture), names, 1 << 16)
    ids = data.ids("val").astype(np.int64)
    at = np.unique(np.linspace(BLOCK, len(ids) - 1, found.targets).astype(np.int64))
    rungs = {rung.name: rung for rung in found.rungs}
    assert list(rungs) == ["uniform", "unigram", "bigram", "ngram", "gpt 1", "gpt 2", "gpt 4", "gpt 8", "mixture"]
    assert rungs["uniform"].nats == pytest.approx(np.log(tokenizer.vocab_size))
    nats = {}
    with torch.no_grad():
        for k in (1, 4, 8):
            said = [gpt(torch.from_numpy(ids[None, i - k : i])).logits[0, -1].log_softmax(-1)[ids[i]] for i in at]
            nats[k] = -torch.stack(said).double().numpy()
            assert rungs[f"gpt {k}"].nats == pytest.approx(nats[k].mean(), abs=1e-5)
    few = waterfall(gpt, mixture, data, count_baselines(data, tokenizer, gpt, mixture), names, 1)
    assert few.targets == 64
    at = np.unique(np.linspace(BLOCK, len(ids) - 1, 64).astype(np.int64))
    with torch.no_grad():
        mixed = [
            -float(
                mixture(
                    torch.from_numpy(ids[None, i - BLOCK : i]),
                    cache=mixture.cache_after(torch.from_numpy(ids[None, max(0, i - BLOCK - 3) : i - BLOCK])),
                ).logits[0, -1, ids[i]]
            )
            for i in at
        ]
    assert few.rungs[-1].nats == pytest.approx(np.mean(mixed), abs=1e-5)
    gain = nats[4] - nats[8]
    assert rungs["gpt 8"].gain == pytest.approx(gain.mean(), abs=1e-5)
    assert rungs["gpt 8"].gain_error == pytest.approx(gain.std(ddof=1) / np.sqrt(len(gain)), rel=1e-3)


def test_orders_of_an_ngram_are_its_waterfall(text: Text) -> None:
    data, tokenizer = text
    ngram = NgramLanguageModel.fit(data.ids("counts"), tokenizer.vocab_size, 4)
    found = waterfall(ngram, None, data, count_baselines(data, tokenizer, ngram, None), labels(tokenizer), 1 << 20)
    losses = [rung.nats for rung in found.rungs if rung.name.startswith("order")]
    assert losses == pytest.approx(ngram.order_losses(data.ids(score_split(data))))


def test_lengths_double_to_the_most() -> None:
    assert [lengths(n) for n in (1, 2, 3, 64)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8, 16, 32, 64]]


def test_looking_changes_nothing_and_twice_is_the_same(text: Text) -> None:
    data, tokenizer = text
    gpt = gpt_for(tokenizer).train()
    before, state = {k: v.clone() for k, v in gpt.state_dict().items()}, torch.get_rng_state()
    first, second = (loss(gpt, tokenizer, data, read=1 << 10) for _ in range(2))
    assert isinstance(first, Loss)
    assert first.to_dict() == second.to_dict()
    assert gpt.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in gpt.state_dict().items())


def test_what_cannot_be_looked_at_is_one_line(text: Text) -> None:
    data, tokenizer = text
    gpt = gpt_for(tokenizer)
    for words, error in (("", ConfigError), ("t", ConfigError), ("the Ж", TokenizerError)):
        with pytest.raises(error) as raised:
            loss(gpt, tokenizer, data, words)
        assert "\n" not in str(raised.value)
