"""Weights found by expectation-maximisation against grids and slow twins; the mixture judged with all its history."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.config import GPTConfig, RunConfig
from clearhead.data.prepare import Prepared, prepare
from clearhead.errors import CorpusError
from clearhead.evaluation import mixing
from clearhead.evaluation.loss import split_loss, token_losses
from clearhead.evaluation.mixing import Scored, cross_validated, fit_mixture, fit_table, fit_weights, has_dev
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel, buckets, table_shape
from clearhead.models.ngram import NgramLanguageModel


def scored(n: int = 600, size: int = 4, seed: int = 0) -> Scored:
    """Two parts that are right in turns, more often the n-gram in the last bucket."""
    rng = np.random.default_rng(seed)
    bucket = rng.integers(size, size=n)
    counted = rng.beta(1 + bucket, 2, size=n)
    return Scored(np.log(counted), np.log(rng.beta(2, 2, size=n)), bucket)


def gpt_for(prepared: Prepared, block_size: int) -> GPTLanguageModel:
    torch.manual_seed(4)
    config = GPTConfig(vocab_size=prepared.tokenizer.vocab_size, block_size=block_size, n_embd=16, n_head=2, n_layer=1)
    return GPTLanguageModel(config).eval()


def trained_gpt(prepared: Prepared) -> GPTLanguageModel:
    gpt = gpt_for(prepared, 16)
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=1e-2)
    for step in range(150):
        x, y = prepared.data.get_batch("train", step, batch_size=8, block_size=16, seed=1)
        loss = gpt(x, y).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gpt


@pytest.fixture
def prepared(poem: Path) -> Prepared:
    return prepare(RunConfig(), [str(poem)])


@pytest.fixture
def changed(poem: Path, tmp_path: Path) -> Prepared:
    """The poem with every seventh word turned round, by a fixed dice: neither part knows it by heart."""
    rng, words = np.random.default_rng(0), poem.read_text(encoding="utf-8").split(" ")
    path = tmp_path / "changed.txt"
    path.write_text(" ".join(word[::-1] if rng.integers(7) == 0 else word for word in words), encoding="utf-8")
    return prepare(RunConfig(), [str(path)])


@pytest.mark.parametrize("seed", range(3))
def test_one_weight_is_the_optimum_of_a_fine_grid(seed: int) -> None:
    text = replace(scored(seed=seed), bucket=np.zeros(600, dtype=np.int64))
    grid = np.linspace(0.0005, 0.9995, 1000)
    losses = [text.nats(np.array([weight])) for weight in grid]
    weight = fit_weights(text, 1)
    assert abs(weight[0] - grid[int(np.argmin(losses))]) < 2e-3
    assert text.nats(weight) <= min(losses) + 1e-3


@pytest.mark.parametrize(("strength", "centre"), [(0.0, 0.5), (25.0, 0.3)])
def test_every_round_makes_the_text_likelier(monkeypatch: pytest.MonkeyPatch, strength: float, centre: float) -> None:
    text = scored()

    def objective(weights: np.ndarray) -> float:
        prior = strength * (centre * np.log(weights) + (1 - centre) * np.log1p(-weights))
        return text.nats(weights) - float(prior.sum())

    losses = []
    for rounds in range(1, 40):
        monkeypatch.setattr(mixing, "ROUNDS", rounds)
        losses.append(objective(fit_weights(text, 4, centre, strength)))
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))
    assert losses[-1] < losses[0]


def test_buckets_are_fitted_each_alone_and_few_tokens_stay_near_the_centre() -> None:
    text = scored(size=4)
    together = fit_weights(text, 4)
    for b in range(4):
        inside = text.bucket == b
        alone = Scored(text.counted[inside], text.neural[inside], np.zeros(inside.sum(), dtype=np.int64))
        assert fit_weights(alone, 1)[0] == pytest.approx(together[b], abs=1e-3)
    few = Scored(np.log([0.9]), np.log([0.1]), np.array([1]))
    weights = fit_weights(few, 3, centre=0.4, strength=10.0)
    assert weights[0] == weights[2] == pytest.approx(0.4)
    assert 0.4 < weights[1] < 0.5


def test_a_part_that_is_always_right_gets_all_the_weight() -> None:
    right, wrong = np.full(100, -0.01), np.full(100, -900.0)
    bucket = np.zeros(100, dtype=np.int64)
    assert fit_weights(Scored(right, wrong, bucket), 1)[0] == pytest.approx(1)
    assert fit_weights(Scored(wrong, right, bucket), 1)[0] == pytest.approx(0)
    assert Scored(right, wrong, bucket).nats(np.array([1.0])) == pytest.approx(1.0)


def test_halves_are_judged_by_each_other() -> None:
    text = scored()
    nats = np.zeros(2)
    for fitted, judged in ((slice(0, 300), slice(300, 600)), (slice(300, 600), slice(0, 300))):
        weight, table = fit_table(text.part(fitted), 4)
        nats += text.part(judged).nats(np.full(4, weight)), text.part(judged).nats(table)
    assert cross_validated(text, 4) == pytest.approx(tuple(nats / 600))
    assert cross_validated(text, 4)[1] < cross_validated(text, 4)[0], "the buckets differ, and weights know it"


def test_buckets_that_mean_nothing_are_not_used() -> None:
    noise = replace(scored(n=400), bucket=np.random.default_rng(5).integers(100, size=400))
    one_weight, by_bucket = cross_validated(noise, 100)
    assert one_weight < by_bucket


@pytest.mark.parametrize("fixture", ["prepared", "changed"])
def test_on_dev_a_mixture_is_no_worse_than_its_better_part(fixture: str, request: pytest.FixtureRequest) -> None:
    prepared: Prepared = request.getfixturevalue(fixture)
    data, tokenizer, gpt = prepared.data, prepared.tokenizer, trained_gpt(prepared)
    mixture, fit = fit_mixture(gpt, data, tokenizer)
    known = NgramLanguageModel.fit(data.ids("train"), tokenizer.vocab_size, mixture.ngram.order)
    assert fit.ngram == pytest.approx(split_loss(known, data, "dev").nats_per_token, abs=1e-6)
    assert fit.gpt == pytest.approx(split_loss(gpt, data, "dev").nats_per_token, abs=1e-6)
    assert fit.tokens == len(data.ids("dev")) - 1
    with_weights_of = MixtureLanguageModel(known, gpt, mixture.weights)
    assert split_loss(with_weights_of, data, "dev").nats_per_token <= min(fit.ngram, fit.gpt) + 1e-3
    assert fit.uses_context == (len(mixture.weights.unique()) > 1) == (fit.by_context < fit.one_weight)
    assert int(mixture.ngram.levels[0].raw.sum()) == len(data.ids("counts")) > len(data.ids("train"))


def test_validation_is_never_looked_at(changed: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ids = [], changed.data.ids
    monkeypatch.setattr(changed.data, "ids", lambda split: asked.append(split) or ids(split))
    fit_mixture(gpt_for(changed, 16), changed.data, changed.tokenizer)
    assert set(asked) == {"train", "dev", "counts"}


def test_an_order_that_is_asked_for_is_used(prepared: Prepared) -> None:
    mixture, fit = fit_mixture(gpt_for(prepared, 16), prepared.data, prepared.tokenizer, order=2)
    assert mixture.ngram.order == 2
    assert mixture.weights.shape == table_shape(2)
    assert f"{fit.weight:.2f}" in fit.note
    assert f"{fit.one_weight:.4f}" in fit.summary


def test_without_dev_there_is_nothing_to_fit_on(tmp_path: Path) -> None:
    path = tmp_path / "tiny.txt"
    path.write_text("I love dogs\nI love cats\nDogs and cats are pets", encoding="utf-8")
    tiny = prepare(RunConfig(), [str(path)])
    assert not has_dev(tiny.data)
    with pytest.raises(CorpusError, match="too short for a dev split"):
        fit_mixture(gpt_for(tiny, 4), tiny.data, tiny.tokenizer)


@pytest.mark.parametrize("block_size", [1, 3, 16])
@pytest.mark.parametrize("tokens_per_call", [8_192, 40])
def test_it_is_judged_with_its_full_history(
    changed: Prepared, monkeypatch: pytest.MonkeyPatch, block_size: int, tokens_per_call: int
) -> None:
    """The slow twin looks at one window at a time, and tells the n-gram the whole text before."""
    monkeypatch.setattr("clearhead.evaluation.loss.TOKENS_PER_CALL", tokens_per_call)
    data, gpt = changed.data, gpt_for(changed, block_size)
    ngram = NgramLanguageModel.fit(data.ids("counts"), changed.tokenizer.vocab_size, 6)
    weights = torch.rand(table_shape(6), generator=torch.Generator().manual_seed(0))
    ids = torch.from_numpy(data.ids("dev").astype(np.int64))
    counted = ngram(ids[None, :-1]).logits[0]
    index = buckets(ngram.evidence(ngram.look_up(ids[None, :-1])))
    expected = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, block_size):
            x = ids[start : start + block_size][: len(ids) - 1 - start]
            neural = gpt(x[None]).logits[0].softmax(-1)
            for t in range(len(x)):
                a, target = float(weights.flatten()[index[start + t]]), ids[start + t + 1]
                p = a * math.exp(counted[start + t, target]) + (1 - a) * float(neural[t, target])
                expected.append(-math.log(p))
    losses = token_losses(MixtureLanguageModel(ngram, gpt, weights), data, "dev")
    np.testing.assert_allclose(losses.numpy(), expected, atol=1e-4)


def test_tiny_shakespeare_gains_over_the_counts_alone(shakespeare: Path) -> None:
    """Even an untaught GPT costs nothing: dev gives it no weight, and the n-gram's figure stands."""
    prepared = prepare(RunConfig(), [str(shakespeare)])
    mixture, fit = fit_mixture(gpt_for(prepared, 64), prepared.data, prepared.tokenizer)
    assert fit.ngram == pytest.approx(1.516, abs=1e-3)
    assert min(fit.one_weight, fit.by_context) <= fit.ngram + 1e-4
    assert split_loss(mixture, prepared.data, "val").nats_per_token <= 1.517
