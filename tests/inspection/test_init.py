import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import clearhead
from clearhead.api import Run
from clearhead.errors import ConfigError
from clearhead.evaluation.loss import split_loss, token_losses
from clearhead.initialise import expected_first_loss, initialise, names_for
from clearhead.inspection.init import Initialisations, initialisations
from clearhead.models.gpt import GPTLanguageModel
from conftest import POEM

SETTINGS: dict[str, Any] = {
    "max_iters": 4,
    "eval_interval": 4,
    "eval_iters": 1,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 2,
}
SETTINGS |= {"block_size": 16, "batch_size": 4, "device": "cpu", "precision": "float32", "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator:
    folder = tmp_path_factory.mktemp("init")
    (folder / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def lecture(folder) -> Run:
    return clearhead.train(folder / "poem.txt", out=folder / "runs", preset="lecture", **SETTINGS)


@pytest.fixture(scope="module")
def bigram(folder) -> Run:
    settings = {**SETTINGS, "max_iters": 4}
    return clearhead.train(folder / "poem.txt", out=folder / "runs", model="bigram", **settings)


@pytest.fixture(scope="module")
def lab(lecture) -> Initialisations:
    return initialisations(lecture.model, lecture.config, lecture.data, lecture.runtime, steps=6)


def test_every_name_untied_tied_and_scaled(lab):
    found = [(start.init, start.tied, start.scaled_embedding) for start in lab.starts]
    ways = [(False, False), (True, False), (False, True)]
    assert found == [(name, *way) for way in ways for name in names_for("gpt")]
    assert [start.name for start in lab.starts if start.own] == ["normal"]


def test_the_first_loss_is_that_of_a_fresh_model(lab, lecture):
    config = lecture.config
    for start in (lab.starts[0], lab.starts[6]):
        shape = replace(config.architecture, tie_weights=start.tied, scale_embedding=start.scaled_embedding)
        model = GPTLanguageModel(replace(config, architecture=shape).gpt(lecture.tokenizer.vocab_size)).eval()
        initialise(model, start.init, seed=config.train.seed)
        losses = token_losses(model, lecture.data)[:928]  # 58 windows of 16 tokens
        assert "the first 928 val tokens" in str(lab)
        assert math.isclose(start.measured, float(losses.mean()), rel_tol=1e-5)


def test_zero_projections_begin_at_ln_v_and_let_only_the_head_learn(lab):
    zero = next(s for s in lab.starts if s.init == "zero_projections" and not s.tied and not s.scaled_embedding)
    assert math.isclose(zero.measured, lab.uniform, rel_tol=1e-6)
    assert zero.predicted == lab.uniform
    assert zero.logit_spread == 0
    assert all(layer.gradient == 0 for layer in zero.layers)
    assert any(layer.gradient > 0 for layer in zero.layers_after)
    activations = [layer.activation for layer in zero.layers]
    assert max(activations) == pytest.approx(min(activations)), "blocks that say nothing leave the stream as it is"


def test_the_scaled_embedding_is_the_root_of_the_width_larger(lab):
    plain, scaled = (
        next(s for s in lab.starts if s.init == "normal" and not s.tied and s.scaled_embedding is x)
        for x in (False, True)
    )
    assert plain.token_to_position is not None
    assert scaled.token_to_position == pytest.approx(plain.token_to_position * 4)


def test_all_starts_see_the_same_batches(lab):
    """The first batch's loss of starts without logits is ln V, whatever the head is tied to; and a rerun is equal."""
    again = [start.losses.tolist() for start in lab.starts if start.init == "zero_projections" and not start.tied]
    assert all(math.isclose(losses[0], lab.uniform, rel_tol=1e-6) for losses in again)
    assert all(len(losses) == 6 for losses in again)


def test_it_is_repeatable_and_moves_no_numbers(lab, lecture):
    state = torch.get_rng_state()
    weights = {name: t.clone() for name, t in lecture.model.state_dict().items()}
    again = initialisations(lecture.model, lecture.config, lecture.data, lecture.runtime, steps=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, weights[name]) for name, t in lecture.model.state_dict().items())
    for one, other in zip(lab.starts, again.starts, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)


def test_the_target_is_counted_in_steps(lecture):
    easy = initialisations(lecture.model, lecture.config, lecture.data, lecture.runtime, steps=2, target=50.0)
    assert {start.steps_to_target for start in easy.starts} == {0}
    hard = initialisations(lecture.model, lecture.config, lecture.data, lecture.runtime, steps=2, target=0.0)
    assert {start.steps_to_target for start in hard.starts} == {None}
    assert "as asked for" in str(hard)


def test_a_bigram_of_counts_is_there_at_once(bigram):
    told: list[str] = []
    found = initialisations(bigram.model, bigram.config, bigram.data, bigram.runtime, steps=30, progress=told.append)
    starts = {start.init: start for start in found.starts}
    assert set(starts) == set(names_for("bigram"))
    assert starts["counts"].steps_to_target == 0
    assert starts["counts"].predicted is None
    assert starts["counts"].measured < starts["zeros"].final
    assert starts["normal"].predicted == pytest.approx(found.uniform + 0.5)
    assert len(told) == 4
    pairs = bigram.data.ids("train").astype(int)
    table = np.zeros((bigram.tokenizer.vocab_size,) * 2)
    np.add.at(table, (pairs[:-1], pairs[1:]), 1)
    seen = table[table > 0]
    entropy = -(seen * np.log((table / np.maximum(table.sum(1, keepdims=True), 1))[table > 0])).sum() / seen.sum()
    assert found.target == pytest.approx(entropy + 0.1)


def test_what_is_counted_starts_nowhere_and_steps_are_at_least_one(lecture):
    counted = replace(lecture.config, model="ngram")
    with pytest.raises(ConfigError, match="an ngram model is counted and has no initialisation"):
        initialisations(lecture.model, counted, lecture.data, lecture.runtime)
    with pytest.raises(ConfigError, match="steps=0 must be at least 1"):
        initialisations(lecture.model, lecture.config, lecture.data, lecture.runtime, steps=0)


def test_predictions_hold_over_seeds(lecture):
    """xavier's head makes the widest logits: one seed may be off, their mean is not."""
    config = replace(lecture.config, init="xavier")
    losses = []
    model = GPTLanguageModel(config.gpt(lecture.tokenizer.vocab_size)).eval()
    for seed in range(12):
        initialise(model, "xavier", seed=seed)
        losses.append(split_loss(model, lecture.data).nats_per_token)
    expected = expected_first_loss(model, "xavier")
    assert expected is not None
    assert abs(np.mean(losses) - expected) < 4 * np.std(losses) / math.sqrt(len(losses)) + 0.02
