import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from streams import EOT, V, ids_of, random_stream
from torch import Tensor

from clearhead.errors import ConfigError, CorpusError
from clearhead.models.ngram import NgramLanguageModel, choose_order
from oracles.kneser_ney import KneserNeyOracle


def probabilities(model: NgramLanguageModel, idx: Tensor) -> npt.NDArray[np.float64]:
    return model(idx).logits.double().exp().numpy()


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.lists(st.integers(0, V - 1), max_size=40),
    held_out=st.lists(st.integers(0, V - 1), min_size=2, max_size=15),
    order=st.integers(1, 5),
    eot_id=st.sampled_from([None, EOT, 0]),
)
def test_agrees_with_the_oracle(tokens: list[int], held_out: list[int], order: int, eot_id: int | None) -> None:
    model = NgramLanguageModel.fit(ids_of(tokens), V, order, eot_id=eot_id)
    oracle = KneserNeyOracle(tokens, V, order, eot_id)
    wanted = [oracle.probability(held_out[:t], held_out[t]) for t in range(1, len(held_out))]
    np.testing.assert_allclose(np.exp(-model.token_losses(ids_of(held_out))), wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("eot_id", [None, EOT])
@pytest.mark.parametrize("order", range(1, 6))
def test_agrees_with_the_oracle_where_discounts_are_estimated(order: int, eot_id: int | None) -> None:
    stream = random_stream(900, documents=eot_id is not None)
    model = NgramLanguageModel.fit(stream[:700], V, order, eot_id=eot_id)
    oracle = KneserNeyOracle(stream[:700].tolist(), V, order, eot_id)
    held_out = stream[700:].tolist()
    wanted = [oracle.probability(held_out[:t], held_out[t]) for t in range(1, 200)]
    np.testing.assert_allclose(np.exp(-model.token_losses(stream[700:])), wanted, atol=1e-9, rtol=0)


def test_a_case_by_hand() -> None:
    # a b a b b: pairs ab 2, ba 1, bb 1. Tokens continue: a follows b and begins the text, 2; b follows a and b, 2.
    model = NgramLanguageModel.fit(ids_of([0, 1, 0, 1, 1]), 2, 2)
    # Raw pairs: n1 = 2, n2 = 1, n3 = 0, so D(1) = 1 - 2 (1/2) (1/2) = 1/2 and D(2) falls back to 1.
    # Tokens: counts 2 and 2 fall back to D(2) = 1, so P(a) = P(b) = (2 - 1) / 4 + (2 / 4) (1 / 2) = 1/2.
    rows = probabilities(model, torch.tensor([[0], [1]]))[:, 0]
    after_a = [0 + (1 / 2) * (1 / 2), (2 - 1) / 2 + (1 / 2) * (1 / 2)]
    after_b = [(1 - 0.5) / 2 + (1 / 2) * (1 / 2)] * 2
    np.testing.assert_allclose(rows, [after_a, after_b], atol=1e-7)


def test_order_one_is_the_unigram_with_room_for_every_token() -> None:
    model = NgramLanguageModel.fit(ids_of([0] * 6 + [1] * 3), 3, 1)
    rows = probabilities(model, torch.tensor([[2, 0]]))[0]
    np.testing.assert_allclose(rows[0], [(6 - 1.5) / 9 + 1 / 9, (3 - 1.5) / 9 + 1 / 9, 1 / 9], atol=1e-7)
    np.testing.assert_array_equal(rows[0], rows[1])


def test_only_as_much_history_counts_as_there_is_and_its_order_answers() -> None:
    stream = random_stream(500, documents=False)
    model = NgramLanguageModel.fit(stream, V, 5)
    full = np.log(probabilities(model, torch.tensor([[3, 1, 2]])))[0]
    for m in (1, 2, 3):
        fitting = model.to_order(m + 1)(torch.tensor([[3, 1, 2]])).logits[0, m - 1]
        np.testing.assert_allclose(full[m - 1], fitting, atol=1e-6)


def test_nothing_before_the_latest_end_of_text_moves_a_prediction() -> None:
    model = NgramLanguageModel.fit(random_stream(800, documents=True), V, 5, eot_id=EOT)
    with_past = model(torch.tensor([[0, 1, 2, 3, EOT, 1, 2]])).logits[:, 4:]
    without = model(torch.tensor([[EOT, 1, 2]])).logits
    assert torch.equal(with_past, without)


@pytest.mark.parametrize("eot_id", [None, EOT])
@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_rows_sum_to_one(order: int, eot_id: int | None) -> None:
    model = NgramLanguageModel.fit(random_stream(300, documents=eot_id is not None), V + 4, order, eot_id=eot_id)
    idx = torch.randint(0, V + 4, (40, 9), generator=torch.Generator().manual_seed(order))  # seen, unseen, impossible
    rows = probabilities(model, idx)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    assert rows.min() > 0


@pytest.mark.parametrize("eot_id", [None, EOT])
@pytest.mark.parametrize("order", [1, 2, 5])
def test_forward_agrees_with_token_losses(order: int, eot_id: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(700, documents=eot_id is not None)
    model = NgramLanguageModel.fit(stream[:500], V, order, eot_id=eot_id)
    held_out = stream[500:]
    idx = torch.from_numpy(held_out.astype(np.int64))[None]
    logits, loss = model(idx[:, :-1], idx[:, 1:])
    picked = -logits[0].gather(1, idx[0, 1:, None])[:, 0].numpy()
    np.testing.assert_allclose(picked, model.token_losses(held_out), atol=1e-6)
    assert loss is not None
    assert math.isclose(float(loss), model.token_losses(held_out).mean(), abs_tol=1e-6)
    monkeypatch.setattr("clearhead.models.ngram.SCORED", 6)
    np.testing.assert_allclose(picked, model.token_losses(held_out), atol=1e-6)
    monkeypatch.setattr("clearhead.models.ngram.ROW_CELLS", 3 * V)
    assert torch.equal(model(idx[:, :-1]).logits, logits)


def test_orders_are_scored_in_one_pass_as_each_alone() -> None:
    stream = random_stream(900, documents=True)
    model = NgramLanguageModel.fit(stream[:700], V, 5, eot_id=EOT)
    alone = [
        NgramLanguageModel.fit(stream[:700], V, k, eot_id=EOT).token_losses(stream[700:]).mean() for k in range(1, 6)
    ]
    shared = [model.to_order(k).token_losses(stream[700:]).mean() for k in range(1, 6)]
    np.testing.assert_allclose(model.order_losses(stream[700:]), alone, atol=1e-12)
    np.testing.assert_allclose(shared, alone, atol=1e-12)


def test_future_tokens_never_move_past_logits() -> None:
    model = NgramLanguageModel.fit(random_stream(400, documents=True), V, 4, eot_id=EOT)
    idx = torch.randint(0, V, (6, 12), generator=torch.Generator().manual_seed(0))
    changed = idx.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % V
    assert torch.equal(model(idx).logits[:, :7], model(changed).logits[:, :7])
    assert not torch.equal(model(idx).logits[:, 7:], model(changed).logits[:, 7:])


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_cache_step_by_step_is_the_full_forward(order: int) -> None:
    model = NgramLanguageModel.fit(random_stream(400, documents=True), V, order, eot_id=0)
    idx = torch.randint(0, V, (3, 13), generator=torch.Generator().manual_seed(1))
    full = model(idx).logits
    cache = model.new_cache(3)
    pieces = [model(piece, cache=cache).logits for piece in (idx[:, :1], idx[:, 1:2], idx[:, 2:9], idx[:, 9:])]
    assert torch.equal(torch.cat(pieces, dim=1), full)
    assert cache.lengths.tolist() == [13] * 3


def test_cache_rows_of_different_lengths_do_not_mix() -> None:
    model = NgramLanguageModel.fit(random_stream(400, documents=False), V, 4)
    cache = model.new_cache(2)
    model(torch.tensor([[1, 2, 3]]), cache=cache.rows(slice(1, 2)))
    both = model(torch.tensor([[2], [2]]), cache=cache).logits
    assert torch.equal(both[:1], model(torch.tensor([[2]])).logits)
    assert torch.equal(both[1:], model(torch.tensor([[1, 2, 3, 2]])).logits[:, -1:])


def test_state_survives_a_file_and_gives_equal_logits() -> None:
    model = NgramLanguageModel.fit(random_stream(400, documents=True), V, 4, eot_id=EOT)
    restored = NgramLanguageModel.restore(model.to_config(), load(save(model.state_dict())))
    idx = torch.randint(0, V, (4, 8), generator=torch.Generator().manual_seed(2))
    assert torch.equal(restored(idx).logits, model(idx).logits)
    assert restored.num_parameters() == model.num_parameters() == sum(len(level) for level in model.levels)
    assert restored.to_config() == {"order": 4, "vocab_size": V, "eot_id": EOT}
    lower = model.to_order(2)
    assert torch.equal(NgramLanguageModel.restore(lower.to_config(), lower.state_dict())(idx).logits, lower(idx).logits)


def test_loading_a_state_replaces_all_that_was_known() -> None:
    other = NgramLanguageModel.fit(random_stream(200, documents=False, seed=3), V, 3)
    both = torch.nn.ModuleList([NgramLanguageModel(3, V), NgramLanguageModel(3, V)])
    ours = NgramLanguageModel.fit(random_stream(200, documents=False), V, 3)
    both.load_state_dict(torch.nn.ModuleList([ours, other]).state_dict())
    idx = torch.randint(0, V, (4, 8), generator=torch.Generator().manual_seed(2))
    assert torch.equal(both[0](idx).logits, ours(idx).logits)
    assert torch.equal(both[1](idx).logits, other(idx).logits)


def test_the_order_is_chosen_on_dev() -> None:
    # A cycle of period 7 over 3 symbols needs 3 tokens of history, and more never hurts or helps: ties go to the least.
    stream = ids_of([0, 0, 1, 0, 1, 1, 2] * 60)
    order, losses = choose_order(stream[:300], stream[300:], 3, max_order=6)
    assert order == 1 + int(np.argmin(losses))
    assert order >= 4
    assert len(losses) == 6
    assert losses[0] > losses[1] > losses[2] > losses[3]
    with pytest.raises(CorpusError, match="1 tokens cannot choose"):
        choose_order(stream, stream[:1], 3)


@pytest.mark.parametrize("eot_id", [None, EOT])
@pytest.mark.parametrize("tokens", [[], [EOT], [0], [EOT, EOT, EOT], [1] * 50])
def test_texts_that_hardly_are_one(tokens: list[int], eot_id: int | None) -> None:
    model = NgramLanguageModel.fit(ids_of(tokens), V, 4, eot_id=eot_id)
    rows = probabilities(model, torch.tensor([[1, 1, EOT, 0, 2]]))
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    assert model.order == 4
    assert model.token_losses(ids_of([1])).shape == model.token_losses(ids_of([])).shape == (0,)
    if not tokens:
        np.testing.assert_allclose(rows, 1 / V, atol=1e-7)


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="order=0"):
        NgramLanguageModel(0, V)
    with pytest.raises(ConfigError, match="eot_id=5"):
        NgramLanguageModel.fit(ids_of([0]), V, 2, eot_id=5)
    with pytest.raises(ConfigError, match="token id 7 is outside a vocabulary of 5"):
        NgramLanguageModel.fit(ids_of([7, 0]), V, 2)
    model = NgramLanguageModel.fit(ids_of([0, 1]), V, 2)
    with pytest.raises(ConfigError, match="token id 9"):
        model.token_losses(ids_of([0, 9]))
    with pytest.raises(ConfigError, match="token id 5"):
        model(torch.tensor([[5]]))
    with pytest.raises(ConfigError, match="token id -1"):
        model(torch.tensor([[-1]]))
    with pytest.raises(ConfigError, match=r"order=3 is outside 1 \.\. 2"):
        model.to_order(3)


def test_no_device_takes_the_tables_away() -> None:
    model = NgramLanguageModel.fit(ids_of([0, 1, 0]), V, 2).to("meta").double()
    assert model.device.type == "cpu"
    assert probabilities(model, torch.tensor([[0]])).shape == (1, 1, V)


def test_tiny_shakespeare_is_what_it_should_be(shakespeare: Path) -> None:
    text = np.frombuffer(shakespeare.read_bytes(), dtype=np.uint8)
    symbols, ids = np.unique(text, return_inverse=True)
    train, val = ids[:1_003_854].astype(np.uint16), ids[1_003_854:].astype(np.uint16)
    order, _ = choose_order(train[:-20_077], train[-20_077:], len(symbols))
    model = NgramLanguageModel.fit(train, len(symbols), order)
    assert order == 7
    assert model.token_losses(val).mean() <= 1.520
    assert abs(model.to_order(1).token_losses(val).mean() - 3.347) < 0.005
