"""The presets `modern` and `gpt2` compute what transformers computes from the same weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.config import PRESETS, GPTConfig
from clearhead.models.gpt import GPTLanguageModel
from oracles.foreign import as_gpt2, as_qwen3

pytest.importorskip("transformers", reason="transformers is not installed; the extra `test` brings it")

FOREIGN: dict[str, Callable[[GPTLanguageModel], nn.Module]] = {"modern": as_qwen3, "gpt2": as_gpt2}
SMALL: dict[str, Any] = {"vocab_size": 13, "block_size": 16, "n_embd": 16, "n_head": 2, "n_layer": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "one head": SMALL | {"n_head": 1},
    "four heads of six": SMALL | {"n_embd": 24, "n_head": 4, "n_layer": 3},
    "the default": {"vocab_size": 65, "block_size": 64, "n_embd": 128, "n_head": 4, "n_layer": 4},
    "long context": SMALL | {"block_size": 512, "n_embd": 32, "n_head": 4},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preset", FOREIGN)
def test_logits_are_those_of_transformers(preset: str, shape: str) -> None:
    ours = lively(**SHAPES[shape], **PRESETS[preset])
    idx = torch.randint(ours.config.vocab_size, (2, ours.config.block_size))
    logits = logits_of(ours, idx)
    assert logits.std() > 0.5, "flat logits would agree whatever the weights"
    torch.testing.assert_close(logits, logits_of(FOREIGN[preset](ours), idx), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("modern", {"tie_weights": True}),
        ("modern", {"rope_theta": 50.0, "norm_eps": 0.1, "ffn_width": 20}),
        ("gpt2", {"tie_weights": False, "norm_eps": 0.1, "ffn_width": 20}),
    ],
)
def test_settings_that_both_have_mean_the_same(preset: str, options: dict[str, Any]) -> None:
    ours = lively(**SMALL, **PRESETS[preset] | options)
    idx = torch.randint(13, (2, 16))
    torch.testing.assert_close(logits_of(ours, idx), logits_of(FOREIGN[preset](ours), idx), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("preset", FOREIGN)
def test_every_weight_moves_the_logits(preset: str) -> None:
    """Else a weight in the wrong place could pass unseen."""
    theirs = FOREIGN[preset](lively(**SMALL, **PRESETS[preset]))
    idx = torch.randint(13, (2, 16))
    right = logits_of(theirs, idx)
    for name, tensor in theirs.named_parameters():
        kept = tensor.data
        tensor.data = kept.flip(0)
        assert (logits_of(theirs, idx) - right).abs().max() > 1e-2, name
        tensor.data = kept


def lively(**options: Any) -> GPTLanguageModel:
    """A model none of whose weights is zero or one: vectors around 1 or 0, matrices that keep a stream's size."""
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(**options)).eval()
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            nn.init.normal_(weight, mean=0.0 if name.endswith("bias") else 1.0, std=0.3)
        else:
            nn.init.normal_(weight, std=1.0 if "embedding" in name else weight.shape[1] ** -0.5)
    return model


@torch.no_grad()
def logits_of(model: nn.Module, idx: Tensor) -> Tensor:
    """(B, T, V) of (B, T), ours or theirs."""
    return model(idx).logits
