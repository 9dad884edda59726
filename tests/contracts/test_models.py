"""What every model of the registry owes, and every shape of GPT.

A new model needs a builder in `BUILDERS`; the first test says so.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from clearhead import registry
from clearhead.config import PRESETS, GPTConfig
from clearhead.generation.generate import generate
from clearhead.initialise import expected_first_loss, initialise, names_for
from clearhead.models.base import Cache, LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import CLUES, MixtureLanguageModel
from clearhead.models.ngram import NgramLanguageModel

V, S = 11, 12
TEXT = np.random.default_rng(1).choice(V, 600, p=np.arange(1, V + 1) / (V * (V + 1) / 2)).astype(np.uint16)


def gpt(**options) -> GPTLanguageModel:
    return GPTLanguageModel(
        GPTConfig(**{"vocab_size": V, "block_size": S, "n_embd": 16, "n_head": 2, "n_layer": 2, **options})
    )


def mixture(order: int, eot_id: int | None = None, **options) -> MixtureLanguageModel:
    """A gate that heeds every clue, so that a wrong one shows."""
    return MixtureLanguageModel(
        NgramLanguageModel.fit(TEXT, V, order, eot_id=eot_id), gpt(**options), torch.randn(1 + CLUES)
    )


BUILDERS: dict[str, Callable[[], LanguageModel]] = {
    "bigram": lambda: BigramLanguageModel(V),
    "ngram": lambda: NgramLanguageModel.fit(TEXT, V, 4),
    "ngram-1": lambda: NgramLanguageModel.fit(TEXT, V, 1),
    "ngram-documents": lambda: NgramLanguageModel.fit(TEXT, V, 3, eot_id=V - 1),
    **{f"gpt-{preset}": lambda preset=preset: gpt(**PRESETS[preset]) for preset in PRESETS},
    "gpt-bare": lambda: gpt(positions="none", norm="none", activation="relu2", qk_norm=False, n_head=1),
    "gpt-all": lambda: gpt(
        norm="layernorm", activation="gelu_tanh", qkv_bias=True, bias=True, head_bias=True, scale_embedding=True
    ),
    "gpt-tied": lambda: gpt(positions="learned", tie_weights=True, scale_embedding=True, dropout=0.3),
    "mixture": lambda: mixture(5),
    "mixture-1": lambda: mixture(1),
    "mixture-documents": lambda: mixture(4, eot_id=V - 1, positions="learned", tie_weights=True),
}
KINDS = {name: name.partition("-")[0] for name in BUILDERS}
TRAINABLE = [name for name, kind in KINDS.items() if names_for(kind)]


def build(name: str, *, trained: bool = True, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A model in evaluation mode; `trained` moves every weight from where it begins, so that every path speaks."""
    torch.manual_seed(7)
    model = BUILDERS[name]().eval()
    if trained and names_for(model.kind):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype) if list(model.parameters()) else model


def random_ids(B: int, T: int, seed: int = 0) -> Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))


def test_every_registered_model_is_here():
    assert set(KINDS.values()) == set(registry.BUILT_IN["models"])


@pytest.mark.parametrize("name", BUILDERS)
def test_logits_cover_all_positions_and_the_loss_is_their_cross_entropy(name):
    model, idx, targets = build(name), random_ids(3, 9), random_ids(3, 9, seed=1)
    logits, loss = model(idx)
    assert (logits.shape, loss) == ((3, 9, V), None)
    with_targets, loss = model(idx, targets)
    torch.testing.assert_close(with_targets, logits)
    picked = logits.double().log_softmax(-1).gather(-1, targets[..., None])
    assert loss.item() == pytest.approx(-picked.mean().item(), abs=1e-5)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_future_cannot_change_the_past(name):
    model, idx = build(name), random_ids(4, S)
    base = model(idx).logits
    for cut in range(1, S):
        changed = idx.clone()
        changed[:, cut:] = (changed[:, cut:] + 1 + random_ids(4, S - cut, seed=cut) % (V - 1)) % V
        torch.testing.assert_close(model(changed).logits[:, :cut], base[:, :cut], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_nothing_beyond_the_context_is_read(name):
    model, idx = build(name), random_ids(2, S)
    if model.context >= S:
        assert model.block_size == model.context
        return
    changed = idx.clone()
    keep = max(model.context, 1)
    changed[:, :-keep] = (changed[:, :-keep] + 1) % (V - 1)
    torch.testing.assert_close(model(changed).logits[:, -1], model(idx).logits[:, -1])


def read_in_chunks(model: LanguageModel, idx: Tensor, cache: Cache, seed: int) -> Tensor:
    """Logits of idx, shown in pieces of random length."""
    rng, logits, start = np.random.default_rng(seed), [], 0
    while start < idx.shape[1]:
        stop = start + int(rng.integers(1, 5))
        logits.append(model(idx[:, start:stop], cache=cache).logits)
        start = stop
    return torch.cat(logits, dim=1)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_a_cache_is_the_full_forward_in_any_chunks(name, dtype, tolerance):
    model, idx = build(name, dtype=dtype), random_ids(3, S)
    full, cache = model(idx).logits, model.new_cache(3)
    for seed in range(4):
        chunked = read_in_chunks(model, idx, cache, seed)
        torch.testing.assert_close(chunked, full, atol=tolerance, rtol=tolerance)
        assert cache.lengths.tolist() == [S] * 3
        cache.reset()
        assert cache.lengths.tolist() == [0] * 3


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_rows_of_different_lengths_share_a_cache(name, dtype, tolerance):
    model, idx = build(name, dtype=dtype), random_ids(4, S)
    full, cache, lengths = model(idx).logits, model.new_cache(4), [1, 7, 0, 4]
    for row, length in enumerate(lengths):
        if length:
            model(idx[row : row + 1, :length], cache=cache.rows(slice(row, row + 1)))
    assert cache.lengths.tolist() == lengths
    for T in (1, 3, 1):
        new = torch.stack([idx[row, length : length + T] for row, length in enumerate(lengths)])
        logits = model(new, cache=cache).logits
        for row, length in enumerate(lengths):
            expected = full[row, length : length + T]
            torch.testing.assert_close(logits[row], expected, atol=tolerance, rtol=tolerance)
        lengths = [length + T for length in lengths]
        assert cache.lengths.tolist() == lengths


@pytest.mark.parametrize("name", BUILDERS)
def test_of_what_precedes_a_window_as_much_is_read_as_the_model_looks_back(name):
    model, before, idx = build(name), random_ids(2, 9, seed=3), random_ids(2, S)
    cache = model.cache_after(before)
    logits = model(idx, cache=cache).logits
    if model.block_size is None:
        torch.testing.assert_close(logits, model(torch.cat([before, idx], dim=1)).logits[:, -S:])
        return
    assert cache.lengths.tolist() == [S, S], "what precedes is not part of the window"
    enough = model.cache_after(before[:, 9 - model.lookback :])
    assert torch.equal(logits, model(idx, cache=enough).logits)
    assert torch.allclose(logits, model(idx).logits, atol=1e-5) == (model.lookback == 0)
    cache.reset()
    torch.testing.assert_close(model(idx, cache=cache).logits, model(idx).logits)


@pytest.mark.parametrize("name", BUILDERS)
def test_saved_and_loaded_it_is_the_same_model(name):
    model, idx = build(name), random_ids(2, S)
    kind = registry.resolve("models", model.kind)
    again = kind.restore(model.to_config(), load(save(model.state_dict()))).eval()
    assert type(again) is type(model)
    assert torch.equal(again(idx).logits, model(idx).logits)
    assert again.num_parameters() == model.num_parameters() > 0
    assert again.to_config() == model.to_config()
    assert (again.vocab_size, again.context, again.block_size) == (model.vocab_size, model.context, model.block_size)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("prompt", [1, 2 * S])
def test_generating_with_a_cache_is_generating_without(name, prompt):
    model, idx = build(name), random_ids(3, prompt)
    cached = generate(model, idx, 2 * S, seed=2)
    assert torch.equal(cached, generate(model, idx, 2 * S, seed=2, use_cache=False))
    assert torch.equal(cached[:, :prompt], idx)
    assert ((cached >= 0) & (cached < V)).all()


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_first_loss_is_as_predicted(name):
    model = build(name, trained=False)
    for init in names_for(model.kind):
        if (expected := expected_first_loss(model, init)) is None:
            continue
        losses = []
        for seed in range(8):
            initialise(model, init, seed=seed)
            losses.append(model(random_ids(64, S, seed), random_ids(64, S, seed + 100)).loss.item())
        assert np.mean(losses) == pytest.approx(expected, abs=0.12), init
        assert expected >= math.log(V)


@pytest.mark.parametrize("name", TRAINABLE)
def test_it_overfits_one_batch(name):
    model = build(name, trained=False)
    initialise(model, None, seed=1)
    x = torch.stack([torch.arange(S) + row for row in range(3)]) * 3 % V  # the next token follows from this one
    y = (x + 3) % V
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0.0)
    for _ in range(200):
        loss = model(x, y).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model(x, y).loss.item() < 0.05


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_weight_learns(name):
    model, idx = build(name), random_ids(4, S)
    model(idx, random_ids(4, S, seed=1)).loss.backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.abs().sum() > 0, path
