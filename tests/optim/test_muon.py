"""Muon against a plain loop and against torch's own: what moves, by how much, and that it comes back."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.config import PRESETS, GPTConfig, TrainConfig
from clearhead.models.bigram import BigramLanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.optim.adamw import build_adamw
from clearhead.optim.muon import Muon, build_muon, hidden_matrices
from clearhead.runs.checkpoint import optimizer_tensors, restore_optimizer
from oracles.newton_schulz import SHAPES, newton_schulz

C, W = 16, 40
"""Width, and the hidden width that swiglu gets for it."""


def gpt(dtype: torch.dtype = torch.float32, **options: Any) -> GPTLanguageModel:
    torch.manual_seed(3)
    shape: dict[str, Any] = {"vocab_size": 11, "block_size": 8, "n_embd": C, "n_head": 2, "n_layer": 2}
    return GPTLanguageModel(GPTConfig(**shape, **options)).to(dtype)


def give_gradients(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def one_matrix(weight: Tensor, **settings: Any) -> tuple[nn.Parameter, Muon]:
    """A matrix under Muon, beside an AdamW of something else."""
    matrix, other = nn.Parameter(weight.clone()), nn.Parameter(torch.zeros(2))
    return matrix, Muon({matrix: 1}, torch.optim.AdamW([other]), **settings)


@pytest.mark.parametrize(
    ("can", "precision", "dtype", "iterates"),
    [
        ({"avx512_bf16": True}, "auto", torch.float32, torch.bfloat16),
        ({"amx_bf16": True}, "bfloat16", torch.float32, torch.bfloat16),
        ({"avx512_bf16": True}, "float32", torch.float32, None),
        ({"avx512_bf16": True}, "float64", torch.float64, None),
        ({"avx512_bf16": False, "amx_bf16": False}, "auto", torch.float32, None),
        ({}, "auto", torch.float32, None),
    ],
)
def test_it_iterates_in_bfloat16_where_the_processor_does(monkeypatch, can, precision, dtype, iterates):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    matrices, *_ = build_muon(gpt(dtype), TrainConfig(precision=precision)).param_groups
    assert matrices["dtype"] == iterates


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_update_is_the_plain_loop(shape, dtype):
    torch.manual_seed(1)
    weight = torch.randn(shape, dtype=dtype)
    matrix, optimizer = one_matrix(weight, lr=0.1, weight_decay=0.5, momentum=0.9)
    buffer = torch.zeros_like(weight)
    for _ in range(4):
        gradient = torch.randn(shape, dtype=dtype)
        matrix.grad = gradient.clone()
        optimizer.step()
        buffer = 0.9 * buffer + gradient
        factor = max(1.0, math.sqrt(shape[0] / shape[1]))
        weight = weight - 0.1 * 0.5 * weight - 0.1 * factor * newton_schulz(gradient + 0.9 * buffer)
        torch.testing.assert_close(matrix.detach(), weight, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_update_is_torchs(shape, dtype):
    """torch iterates in bfloat16: three digits, carried through five steps that may stretch them by 3.4."""
    torch.manual_seed(2)
    weight = torch.randn(shape)
    matrix, ours = one_matrix(weight, lr=0.1, weight_decay=0.5, dtype=dtype)
    theirs = nn.Parameter(weight.clone())
    oracle = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.5, momentum=0.95)
    for _ in range(3):
        matrix.grad = torch.randn(shape)
        theirs.grad = matrix.grad.clone()
        ours.step()
        oracle.step()
    moved = (theirs - weight).norm()
    assert (matrix - theirs).norm() < 0.03 * moved


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("ffn_width", [None, C // 4, 3 * C])
def test_matrices_of_the_blocks_and_nothing_else(preset, ffn_width):
    model = gpt(**PRESETS[preset], ffn_width=ffn_width)
    names = {p: name for name, p in model.named_parameters()}
    parts = {names[p]: k for p, k in hidden_matrices(model).items()}
    gated = 2 if preset == "modern" else 1
    per_block = {"sa.qkv.weight": 3, "sa.proj.weight": 1, "ffwd.up.weight": gated, "ffwd.proj.weight": 1}
    assert parts == {f"blocks.{i}.{name}": k for i in range(2) for name, k in per_block.items()}


def test_every_parameter_has_one_home():
    model = gpt(**PRESETS["gpt2"])
    groups = build_muon(model, TrainConfig(muon_learning_rate=0.3, learning_rate=0.2, weight_decay=0.1)).param_groups
    homes = [p for group in groups for p in group["params"]]
    assert len(homes) == len(set(homes))
    assert set(homes) == set(model.parameters())
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.3, 0.1), (0.2, 0.1), (0.2, 0.0)]


def test_packed_matrices_move_each_by_itself():
    model = gpt()
    before = weights_of(model)
    give_gradients(model)
    build_muon(model, TrainConfig(muon_learning_rate=0.1, weight_decay=0.0, precision="float32")).step()
    for name, shapes in {
        "sa.qkv": 3 * [(C, C)],
        "sa.proj": [(C, C)],
        "ffwd.up": 2 * [(W, C)],
        "ffwd.proj": [(C, W)],
    }.items():
        weight = model.get_parameter(f"blocks.1.{name}.weight")
        assert weight.grad is not None
        rows = [m for m, _ in shapes]
        moved = (weight.detach() - before[f"blocks.1.{name}.weight"]).split(rows)
        assert [part.shape for part in moved] == shapes
        for part, gradient, (m, n) in zip(moved, weight.grad.split(rows), shapes, strict=True):
            torch.testing.assert_close(
                part, -0.1 * max(1.0, m / n) ** 0.5 * newton_schulz(gradient), rtol=1e-4, atol=1e-5
            )


def test_the_rest_moves_as_under_adamw():
    config = TrainConfig(weight_decay=0.3, learning_rate=0.05)
    model, other = gpt(**PRESETS["lecture"]), gpt(**PRESETS["lecture"])
    hidden = {name for name, p in model.named_parameters() if p in hidden_matrices(model)}
    optimizers = build_muon(model, config), build_adamw(other, config)
    for seed in range(3):
        for one, optimizer in zip((model, other), optimizers, strict=True):
            give_gradients(one, seed)
            optimizer.step()
    theirs = weights_of(other)
    for name, weight in weights_of(model).items():
        assert torch.equal(weight, theirs[name]) == (name not in hidden), name


def test_a_model_without_layers_is_left_to_adamw():
    model, other = BigramLanguageModel(5), BigramLanguageModel(5)
    other.load_state_dict(model.state_dict())
    for one, build in ((model, build_muon), (other, build_adamw)):
        give_gradients(one)
        build(one, TrainConfig()).step()
    assert all(torch.equal(weight, weights_of(other)[name]) for name, weight in weights_of(model).items())


def test_a_zero_gradient_only_decays():
    model = gpt(**PRESETS["lecture"])
    before = weights_of(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    build_muon(model, TrainConfig(weight_decay=0.5, muon_learning_rate=0.1)).step()
    qkv = "blocks.0.sa.qkv.weight"
    torch.testing.assert_close(model.get_parameter(qkv).detach(), before[qkv] * (1 - 0.1 * 0.5))
    for name in ("blocks.0.ffwd.up.bias", "blocks.0.ln1.weight"):
        assert torch.equal(model.get_parameter(name), before[name])


def test_what_has_no_gradient_stays():
    model = gpt()
    before = weights_of(model)
    optimizer = build_muon(model, TrainConfig())
    optimizer.step()
    give_gradients(model)
    model.get_parameter("blocks.0.sa.qkv.weight").grad = None
    optimizer.step()
    same = {name for name, weight in weights_of(model).items() if torch.equal(weight, before[name])}
    assert same == {"blocks.0.sa.qkv.weight"}


def test_a_frozen_matrix_is_not_taken():
    model = gpt()
    model.blocks[0].requires_grad_(False)
    assert len(hidden_matrices(model)) == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_state_comes_back_and_goes_on_exactly(dtype):
    model, again = gpt(dtype), gpt(dtype)
    config = TrainConfig()
    optimizer = build_muon(model, config)
    for seed in range(2):
        give_gradients(model, seed)
        optimizer.step()
    saved = optimizer_tensors(optimizer, model)
    assert {name.rpartition(".")[2] for name in saved} == {"momentum_buffer", "exp_avg", "exp_avg_sq", "step"}
    assert saved["blocks.0.sa.qkv.weight.momentum_buffer"].dtype == dtype
    again.load_state_dict(model.state_dict())
    resumed = build_muon(again, config)
    restore_optimizer(resumed, again, {name: tensor.clone() for name, tensor in saved.items()})
    for one, its in ((model, optimizer), (again, resumed)):
        give_gradients(one, 7)
        its.step()
    assert all(torch.equal(weight, weights_of(again)[name]) for name, weight in weights_of(model).items())


def test_torchs_own_state_dict_comes_back_too():
    model, again = gpt(), gpt()
    first, second = (build_muon(one, TrainConfig()) for one in (model, again))
    give_gradients(model)
    first.step()
    again.load_state_dict(model.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))  # torch would share the tensors
    for one, its in ((model, first), (again, second)):
        give_gradients(one, 7)
        its.step()
    assert all(torch.equal(weight, weights_of(again)[name]) for name, weight in weights_of(model).items())


def test_a_closure_is_called_with_gradients_on():
    model, x = gpt(), torch.randint(11, (2, 8))
    before = gpt()(x, x).loss.item()
    optimizer = build_muon(model, TrainConfig())

    def closure() -> float:
        _, loss = model(x, x)
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == pytest.approx(before)
    assert optimizer.step() is None
    assert model(x, x).loss.item() < before


def test_it_learns_a_batch_by_heart():
    model, x = gpt(), torch.arange(24).reshape(3, 8) * 3 % 11
    optimizer = build_muon(model, TrainConfig(weight_decay=0.0, learning_rate=1e-2))
    for _ in range(80):
        optimizer.zero_grad()
        loss = model(x, (x + 3) % 11).loss
        loss.backward()
        optimizer.step()
    assert model(x, (x + 3) % 11).loss.item() < 0.05
