import math

import numpy as np
import pytest
import torch

from clearhead.config import PRESETS, GPTConfig
from clearhead.errors import ConfigError
from clearhead.initialise import default_name, expected_first_loss, initialise, names_for
from clearhead.models.base import LanguageModel
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel

V = 65


def gpt(**options) -> GPTLanguageModel:
    return GPTLanguageModel(GPTConfig(**{"vocab_size": V, "block_size": 16, "n_embd": 64, "n_layer": 3, **options}))


def first_loss(model: LanguageModel, name: str | None) -> float:
    """Mean over several starts, on random tokens."""
    losses = []
    for seed in range(4):
        initialise(model.eval(), name, seed=seed)
        rng = torch.Generator().manual_seed(seed)
        idx, targets = torch.randint(V, (2, 32, 16), generator=rng)
        with torch.no_grad():
            losses.append(float(model(idx, targets).loss))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", names_for("gpt"))
def test_a_gpt_starts_from_the_loss_that_is_expected(preset, name):
    model = gpt(**PRESETS[preset])
    assert first_loss(model, name) == pytest.approx(expected_first_loss(model, name), abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none"},
        {"norm": "none", "scale_embedding": True},
        {"tie_weights": True, "n_embd": 256},
        {"tie_weights": True, "n_embd": 256, "positions": "learned"},
    ],
)
@pytest.mark.parametrize("name", ["scaled", "zero_projections"])
def test_the_expected_loss_knows_the_architecture(options, name):
    model = gpt(**options)
    assert first_loss(model, name) == pytest.approx(expected_first_loss(model, name), abs=0.06)


def test_a_bigram_starts_from_the_loss_that_is_expected():
    model = BigramLanguageModel(V)
    expected = {"zeros": math.log(V), "small_normal": math.log(V) + 5e-5, "normal": math.log(V) + 0.5}
    for name, loss in expected.items():
        assert expected_first_loss(model, name) == pytest.approx(loss)
        assert first_loss(model, name) == pytest.approx(loss, abs=0.05)
    assert expected_first_loss(model, None) == pytest.approx(4.67, abs=0.01)
    assert expected_first_loss(model, "counts") is None


def test_zero_projections_start_at_ln_v_exactly():
    model = gpt().double()
    initialise(model, "zero_projections", seed=1)
    idx = torch.randint(V, (2, 16))
    assert model(idx, idx).loss.item() == pytest.approx(math.log(V), abs=1e-14)
    assert all((block.get_parameter("sa.proj.weight") == 0).all() for block in model.blocks)


def test_normal_and_scaled_have_the_widths_they_say():
    model = gpt(**PRESETS["gpt2"], n_embd=256)
    initialise(model, "scaled", seed=1)
    for name, p in model.state_dict().items():
        if name.endswith("bias"):
            assert (p == 0).all()
        elif ".ln" in name or name.startswith("ln_f"):
            assert (p == 1).all()
        else:
            std = 0.02 / math.sqrt(6) if name.endswith("proj.weight") else 0.02
            assert float(p.std()) == pytest.approx(std, rel=0.05)
            assert abs(float(p.mean())) < std / 10


def test_xavier_sees_packed_matrices_apart():
    model = gpt(n_embd=64, ffn_width=96)
    initialise(model, "xavier", seed=1)
    block = model.blocks[0]
    for name, inputs_and_outputs in (("sa.qkv", 128), ("ffwd.up", 160), ("ffwd.proj", 160)):
        largest = block.get_parameter(f"{name}.weight").abs().max().item()
        assert largest == pytest.approx(math.sqrt(6 / inputs_and_outputs), rel=0.01)


@pytest.mark.parametrize("name", names_for("gpt"))
def test_the_embeddings_values_stand_in_a_tied_head(name):
    tied, untied = gpt(tie_weights=True), gpt()
    for model in (tied, untied):
        initialise(model, name, seed=5)
    assert tied.lm_head.weight is tied.token_embedding_table.weight
    assert torch.equal(tied.token_embedding_table.weight, untied.token_embedding_table.weight)
    assert float(tied.lm_head.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not torch.equal(untied.lm_head.weight, untied.token_embedding_table.weight)


def test_one_seed_is_one_start_in_every_precision():
    state = torch.random.get_rng_state()
    a, b, c = gpt(), gpt().double(), gpt()
    torch.random.set_rng_state(state)
    for model, seed in ((a, 7), (b, 7), (c, 8)):
        initialise(model, "xavier", seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state), "the global stream has moved"
    for (name, p), q, r in zip(a.named_parameters(), b.parameters(), c.parameters(), strict=True):
        assert torch.equal(p.double(), q)
        assert p.ndim == 1 or not torch.equal(p, r), name


def test_it_overwrites_everything():
    model = gpt(**PRESETS["gpt2"], n_head=2)
    for p in model.parameters():
        p.data.fill_(float("nan"))
    initialise(model, "normal", seed=1)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_counts_are_the_closed_form():
    ids = np.array([0, 1, 0, 1, 0, 2] * 50, dtype=np.uint16)
    model, by_hand = BigramLanguageModel(3), BigramLanguageModel(3)
    initialise(model, "counts", seed=1, ids=ids)
    by_hand.set_counts(ids)
    assert torch.equal(model.token_embedding_table.weight, by_hand.token_embedding_table.weight)
    with pytest.raises(ConfigError, match="needs the training text"):
        initialise(model, "counts", seed=1)


def test_defaults_and_unknown_names():
    assert [default_name("gpt", preset) for preset in PRESETS] == ["normal", "scaled", "zero_projections"]
    assert (default_name("bigram"), default_name("ngram"), names_for("ngram")) == ("normal", None, ())
    with pytest.raises(ConfigError, match=r"unknown init 'xaver' for model 'gpt': did you mean 'xavier'\?"):
        initialise(gpt(), "xaver", seed=1)
    with pytest.raises(ConfigError, match="unknown init 'scaled' for model 'bigram'"):
        expected_first_loss(BigramLanguageModel(3), "scaled")
    default, named = gpt(), gpt()
    initialise(default, None, seed=2)
    initialise(named, "zero_projections", seed=2)
    assert all(torch.equal(a, b) for a, b in zip(default.parameters(), named.parameters(), strict=True))
