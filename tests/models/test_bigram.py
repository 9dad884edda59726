import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from clearhead.errors import ConfigError
from clearhead.models import bigram
from clearhead.models.bigram import UNSEEN, BigramLanguageModel, laplace_losses

TEXT = "a rose is a rose is a rose; the rest is rust. " * 12
SYMBOLS = sorted(set(TEXT))
IDS = np.array([SYMBOLS.index(c) for c in TEXT], dtype=np.uint16)
V = len(SYMBOLS)


def pair_counts() -> np.ndarray:
    counts = np.zeros((V, V))
    for a, b in pairwise(IDS):
        counts[a, b] += 1
    return counts


def stream() -> torch.Tensor:
    return torch.from_numpy(IDS.astype(np.int64))[None]


def test_the_table_is_the_only_parameter_and_its_rows_are_the_logits() -> None:
    model = BigramLanguageModel(V)
    assert [(name, tuple(p.shape)) for name, p in model.named_parameters()] == [
        ("token_embedding_table.weight", (V, V))
    ]
    assert model.num_parameters() == V * V
    logits, loss = model(torch.tensor([[1, 3]]))
    assert loss is None
    assert torch.equal(logits[0], model.token_embedding_table.weight[[1, 3]])


def test_rows_set_from_counts_are_the_frequencies() -> None:
    counts = pair_counts()
    rows = BigramLanguageModel.from_counts(IDS, V, laplace=0).token_embedding_table.weight.exp().detach().numpy()
    np.testing.assert_allclose(rows, counts / counts.sum(1, keepdims=True), atol=1e-6)


def test_laplace_adds_to_every_pair() -> None:
    counts = pair_counts() + 0.5
    model = BigramLanguageModel.from_counts(IDS, V, laplace=0.5)
    rows = model.token_embedding_table.weight.exp().detach().numpy()
    np.testing.assert_allclose(rows, counts / counts.sum(1, keepdims=True), atol=1e-6)


def test_without_smoothing_unseen_pairs_are_finite_and_unseen_tokens_uniform() -> None:
    weight = BigramLanguageModel.from_counts(np.array([0, 1, 0], dtype=np.uint16), 3, laplace=0.0)(
        torch.arange(3)[None]
    ).logits[0]
    assert weight[0].tolist() == [UNSEEN, 0.0, UNSEEN]
    np.testing.assert_allclose(weight[2].detach(), -math.log(3), atol=1e-6)


def test_counts_are_the_optimum_that_gradient_descent_approaches() -> None:
    torch.manual_seed(1)
    x, y = stream()[:, :-1], stream()[:, 1:]
    best = BigramLanguageModel.from_counts(IDS, V, laplace=0)(x, y).loss.item()
    model = BigramLanguageModel(V)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(x, y).loss
        loss.backward()
        optimizer.step()
    trained = model(x, y).loss.item()
    assert best < trained < best + 0.01
    frequent = pair_counts() / pair_counts().sum(1, keepdims=True)
    rows = model.token_embedding_table.weight.softmax(-1).detach().numpy()
    np.testing.assert_allclose(rows, frequent, atol=0.03)


def test_earlier_context_moves_nothing() -> None:
    model = BigramLanguageModel(V)
    a, b = model(torch.tensor([[0, 1, 2]])).logits, model(torch.tensor([[3, 4, 2]])).logits
    assert torch.equal(a[:, -1], b[:, -1])
    assert model.context == 1


def test_a_cache_changes_no_logits_and_counts_tokens() -> None:
    model = BigramLanguageModel(V)
    idx = stream()[:, :9]
    cache = model.new_cache(1)
    pieces = [model(piece, cache=cache).logits for piece in idx.split(4, dim=1)]
    assert torch.equal(torch.cat(pieces, 1), model(idx).logits)
    assert cache.lengths.tolist() == [9]


def test_state_survives_a_file() -> None:
    model = BigramLanguageModel.from_counts(IDS, V)
    restored = BigramLanguageModel.restore(model.to_config(), load(save(model.state_dict())))
    assert torch.equal(restored(stream()).logits, model(stream()).logits)


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="vocab_size=0"):
        BigramLanguageModel(0)
    for laplace in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="laplace="):
            BigramLanguageModel.from_counts(IDS, V, laplace)
    with pytest.raises(ConfigError, match="outside a vocabulary of 2"):
        BigramLanguageModel.from_counts(IDS, 2)


def test_tiny_shakespeare_is_what_it_should_be(shakespeare: Path) -> None:
    symbols, ids = np.unique(np.frombuffer(shakespeare.read_bytes(), dtype=np.uint8), return_inverse=True)
    model = BigramLanguageModel.from_counts(ids[:1_003_854], len(symbols))
    val = torch.from_numpy(ids[1_003_854:])[None]
    assert abs(model(val[:, :-1], val[:, 1:]).loss.item() - 2.49) < 0.02


def test_constants_are_judged_without_tables_as_with_them():
    rng = np.random.default_rng(3)
    ids, dev = (rng.integers(0, 9, size).astype(np.uint16) for size in (400, 90))
    constants = [1.0, 0.1, 0.001]
    tables = [BigramLanguageModel.from_counts(ids, 9, c) for c in constants]
    expected = [float(table.token_losses(dev).mean()) for table in tables]
    assert laplace_losses(ids, dev, 9, constants) == pytest.approx(expected, rel=1e-6)


def test_losses_are_those_of_the_logits(monkeypatch):
    """A trained table's rows are not normalised, and rows are read some at a time."""
    monkeypatch.setattr(bigram, "ROW_CELLS", 20)
    torch.manual_seed(1)
    model, ids = BigramLanguageModel(9), np.random.default_rng(4).integers(0, 9, 50).astype(np.uint16)
    idx = torch.from_numpy(ids.astype(np.int64))[None]
    logits, _ = model(idx[:, :-1])
    expected = torch.nn.functional.cross_entropy(logits[0].double(), idx[0, 1:], reduction="none")
    torch.testing.assert_close(torch.from_numpy(model.token_losses(ids)), expected.detach(), atol=1e-6, rtol=1e-6)
