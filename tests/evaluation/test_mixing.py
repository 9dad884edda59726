"""Weights found by expectation-maximisation against grids and slow twins; the mixture judged with all its history."""

import math
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
from clearhead.evaluation.mixing import (
    FOLDS,
    Scored,
    cross_validated,
    fit_gate,
    fit_mixture,
    fit_weight,
    has_dev,
    part_losses,
)
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import CLUES, MixtureLanguageModel, clues, log_odds
from clearhead.models.ngram import NgramLanguageModel


def scored(n: int = 600, seed: int = 0) -> Scored:
    """Two parts that are right in turns, the n-gram more often the larger the first clue is; the others say nothing."""
    rng = np.random.default_rng(seed)
    known = rng.exponential(size=(n, CLUES))
    counted = np.log(rng.beta(0.5 + 2 * known[:, 0], 2, size=n))
    return Scored(torch.from_numpy(counted), torch.from_numpy(np.log(rng.beta(2, 2, size=n))), torch.from_numpy(known))


def odds_of(weight: float) -> torch.Tensor:
    return torch.tensor(weight, dtype=torch.float64).logit()


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
    text, grid = scored(seed=seed), np.linspace(0.0005, 0.9995, 1000)
    losses = [text.nats(odds_of(weight)) for weight in grid]
    weight = fit_weight(text)
    assert abs(weight - grid[int(np.argmin(losses))]) < 2e-3
    assert text.nats(odds_of(weight)) <= min(losses) + 1e-3


def objective(text: Scored, gate: torch.Tensor) -> float:
    return text.nats(log_odds(gate, text.known)) + mixing.RIDGE / 2 * float(gate[1:].square().sum())


@pytest.mark.parametrize("start", [0.01, 0.5, 0.999])
def test_every_round_makes_the_text_likelier(monkeypatch: pytest.MonkeyPatch, start: float) -> None:
    text, losses = scored(), []
    monkeypatch.setattr(mixing, "GATE_TOLERANCE", 0.0)
    for rounds in range(60):
        monkeypatch.setattr(mixing, "ROUNDS", rounds)
        losses.append(objective(text, fit_gate(text, start)))
    assert losses[0] == pytest.approx(text.nats(odds_of(start))), "it begins as one weight"
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))
    assert losses[-1] < losses[0] - 10


@pytest.mark.parametrize("seed", range(3))
def test_a_gate_ends_where_newton_finds_no_slope(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow twin is autograd on the likelihood itself, which knows of no shares."""
    monkeypatch.setattr(mixing, "ROUNDS", 5000)
    monkeypatch.setattr(mixing, "GATE_TOLERANCE", 1e-9)
    text = scored(seed=seed)
    gate = fit_gate(text, fit_weight(text)).requires_grad_()
    odds = log_odds(gate, text.known)
    likelihood = torch.logaddexp(torch.nn.functional.logsigmoid(odds) + text.counted, -odds.exp().log1p() + text.neural)
    (mixing.RIDGE / 2 * gate[1:].square().sum() - likelihood.sum()).backward()
    assert gate.grad is not None
    assert float(gate.grad.abs().max()) < 1e-5
    assert float(gate.detach()[1]) > 3 * float(gate.detach()[2:].abs().max()), "it heeds the clue that says something"


def test_a_gate_stops_early_near_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    text = scored()
    early = objective(text, fit_gate(text, fit_weight(text)))
    monkeypatch.setattr(mixing, "ROUNDS", 5000)
    monkeypatch.setattr(mixing, "GATE_TOLERANCE", 1e-9)
    assert early <= objective(text, fit_gate(text, fit_weight(text))) + 1e-4 * len(text)


def test_few_tokens_leave_the_gate_near_one_weight() -> None:
    """The n-gram was right where the first clue was 1, the GPT where it was 0."""
    good, bad, known = torch.tensor([-0.1, -3.0]), torch.tensor([-3.0, -0.1]), torch.eye(2, CLUES)
    known[1] = 0
    for times, least, most in ((1, 0.1, 0.5), (100, 3.0, 20.0)):
        counted, neural = good.double().repeat(times), bad.double().repeat(times)
        gate = fit_gate(Scored(counted, neural, known.double().repeat(times, 1)), 0.5)
        assert least < float(gate[1]) < most
        assert gate[2:].abs().max() == 0, "a clue that is always 0 teaches nothing"


@pytest.mark.parametrize("right", [True, False])
def test_a_part_that_is_always_right_gets_all_the_weight(right: bool) -> None:
    certain, wrong = torch.full((100,), -0.01, dtype=torch.float64), torch.full((100,), -900.0, dtype=torch.float64)
    text = Scored(certain if right else wrong, wrong if right else certain, scored(100).known)
    weight = fit_weight(text)
    assert weight == pytest.approx(float(right))
    assert text.nats(odds_of(weight)) == pytest.approx(1.0)
    assert text.nats(log_odds(fit_gate(text, weight), text.known)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("n", [2, 7, 600])
def test_folds_are_judged_by_the_others(n: int) -> None:
    text, nats = scored(n), np.zeros(2)
    for fold in range(FOLDS):
        judged = [t for t in range(n) if n * fold // FOLDS <= t < n * (fold + 1) // FOLDS]
        others = [t for t in range(n) if t not in judged]
        fitted = Scored(text.counted[others], text.neural[others], text.known[others])
        weight = fit_weight(fitted)
        gate = fit_gate(fitted, weight)
        for t in judged:
            for i, odds in enumerate((odds_of(weight), log_odds(gate, text.known[t]))):
                a = float(odds.sigmoid())
                nats[i] -= math.log(a * math.exp(text.counted[t]) + (1 - a) * math.exp(text.neural[t]))
    assert cross_validated(text) == pytest.approx(tuple(nats / n))


def test_a_gate_is_used_where_clues_mean_something() -> None:
    text = scored()
    one_weight, by_context = cross_validated(text)
    assert by_context < one_weight - 0.01
    noise = Scored(text.counted, text.neural, text.known.roll(1, dims=0))
    one_weight, by_context = cross_validated(noise)
    assert one_weight < by_context


@pytest.mark.parametrize("fixture", ["prepared", "changed"])
def test_on_dev_a_mixture_is_no_worse_than_its_better_part(fixture: str, request: pytest.FixtureRequest) -> None:
    prepared: Prepared = request.getfixturevalue(fixture)
    data, tokenizer, gpt = prepared.data, prepared.tokenizer, trained_gpt(prepared)
    mixture, fit = fit_mixture(gpt, data, tokenizer)
    known = NgramLanguageModel.fit(data.ids("train"), tokenizer.vocab_size, mixture.ngram.order)
    assert fit.ngram == pytest.approx(split_loss(known, data, "dev").nats_per_token, abs=1e-6)
    assert fit.gpt == pytest.approx(split_loss(gpt, data, "dev").nats_per_token, abs=1e-6)
    assert fit.tokens == len(data.ids("dev")) - 1
    gated = MixtureLanguageModel(known, gpt, mixture.gate)
    assert split_loss(gated, data, "dev").nats_per_token <= min(fit.ngram, fit.gpt) + 1e-3
    assert fit.uses_context == bool(mixture.gate[1:].any()) == (fit.by_context < fit.one_weight)
    assert int(mixture.ngram.levels[0].raw.sum()) == len(data.ids("counts")) > len(data.ids("train"))


def test_validation_is_never_looked_at(changed: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, ids = [], changed.data.ids
    monkeypatch.setattr(changed.data, "ids", lambda split: asked.append(split) or ids(split))
    fit_mixture(gpt_for(changed, 16), changed.data, changed.tokenizer)
    assert set(asked) == {"train", "dev", "counts"}


@pytest.mark.parametrize("tokens_per_call", [8_192, 40])
def test_dev_is_scored_for_the_fit_as_a_mixture_is_judged(
    changed: Prepared, monkeypatch: pytest.MonkeyPatch, tokens_per_call: int
) -> None:
    """Log-probabilities and clues, however many windows are read at once; else the gate would fit another model."""
    seen: list[Scored] = []
    monkeypatch.setattr("clearhead.evaluation.loss.TOKENS_PER_CALL", tokens_per_call)
    monkeypatch.setattr(mixing, "cross_validated", lambda text: (seen.append(text), (1.0, 0.0))[1])
    gpt = gpt_for(changed, 16)
    mixture, _ = fit_mixture(gpt, changed.data, changed.tokenizer)
    ngram = NgramLanguageModel.fit(changed.data.ids("train"), changed.tokenizer.vocab_size, mixture.ngram.order)
    judged = split_loss(MixtureLanguageModel(ngram, gpt, mixture.gate), changed.data, "dev")
    assert seen[0].nats(log_odds(mixture.gate.double(), seen[0].known)) / len(seen[0]) == pytest.approx(
        judged.nats_per_token, abs=1e-6
    )


def test_an_order_that_is_asked_for_is_used(prepared: Prepared) -> None:
    mixture, fit = fit_mixture(gpt_for(prepared, 16), prepared.data, prepared.tokenizer, order=2)
    assert mixture.ngram.order == 2
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
    gate = torch.tensor([-1.5, 0.9, -0.6, 0.8, -1.5, 2.0])
    ids = torch.from_numpy(data.ids("dev").astype(np.int64))
    contexts = ngram.look_up(ids[None, :-1])
    counted, seen = ngram(ids[None, :-1]).logits[0], torch.from_numpy(ngram.times_seen(contexts))
    expected = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, block_size):
            x = ids[start : start + block_size][: len(ids) - 1 - start]
            neural = gpt(x[None]).logits[0].log_softmax(-1)
            for t in range(len(x)):
                known = clues(counted[start + t], neural[t], seen[start + t], torch.tensor(t))
                a, target = float(log_odds(gate, known).sigmoid()), ids[start + t + 1]
                p = a * math.exp(counted[start + t, target]) + (1 - a) * math.exp(neural[t, target])
                expected.append(-math.log(p))
    losses = token_losses(MixtureLanguageModel(ngram, gpt, gate), data, "dev")
    np.testing.assert_allclose(losses.numpy(), expected, atol=1e-4)


def test_tiny_shakespeare_gains_over_the_counts_alone(shakespeare: Path) -> None:
    """Even an untaught GPT costs nothing: dev gives it no weight, and the n-gram's figure stands."""
    prepared = prepare(RunConfig(), [str(shakespeare)])
    mixture, fit = fit_mixture(gpt_for(prepared, 64), prepared.data, prepared.tokenizer)
    assert fit.ngram == pytest.approx(1.516, abs=1e-3)
    assert min(fit.one_weight, fit.by_context) <= fit.ngram + 1e-4
    assert split_loss(mixture, prepared.data, "val").nats_per_token <= 1.517


def test_one_pass_judges_both_parts_as_two_passes_do(poem: Path) -> None:
    prepared = prepare(RunConfig(), [str(poem)])
    gpt = gpt_for(prepared, 16)
    mixture, _ = fit_mixture(gpt, prepared.data, prepared.tokenizer)
    alone, together = part_losses(mixture, prepared.data)
    for once, model in ((alone, gpt), (together, mixture)):
        apart = split_loss(model, prepared.data)
        assert once.nats_per_token == pytest.approx(apart.nats_per_token, abs=1e-5)
        assert (once.tokens, once.characters) == (apart.tokens, apart.characters)
