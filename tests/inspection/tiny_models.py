"""Small GPTs of every kind, none of whose weights is trivial."""

from typing import Any

import torch
from torch import nn

from clearhead.config import PRESETS, GPTConfig
from clearhead.models.gpt import GPTLanguageModel
from clearhead.tokenizers.char import CharTokenizer

ALPHABET = "\n abcdefghijk"
TOKENIZER = CharTokenizer(ALPHABET)
SMALL: dict[str, Any] = {"vocab_size": len(ALPHABET), "block_size": 24, "n_embd": 16, "n_head": 2, "n_layer": 2}
KINDS: dict[str, dict[str, Any]] = {
    **PRESETS,
    "no positions, no norm": {"positions": "none", "norm": "none", "qk_norm": False, "activation": "relu2"},
    "tied, scaled": {"tie_weights": True, "scale_embedding": True, "head_bias": True},
    "rotated, without the norm of queries": {"qk_norm": False, "n_head": 1, "bias": True, "activation": "gelu_tanh"},
    "LayerNorm without biases": {"norm": "layernorm", "positions": "learned", "qkv_bias": True},
}
"""What each changes of `SMALL`."""


def lively(kind: str = "modern", **options: Any) -> Any:
    """Vectors around 1 or 0, matrices that keep a stream's size; nothing is zero."""
    torch.manual_seed(0)
    model = GPTLanguageModel(GPTConfig(**{**SMALL, **KINDS[kind], **options})).eval()
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            nn.init.normal_(weight, mean=0.0 if name.endswith("bias") else 1.0, std=0.3)
        else:
            nn.init.normal_(weight, std=1.0 if "embedding" in name else weight.shape[1] ** -0.5)
    return model


def untyped(value: Any) -> Any:
    """The value, of which a type checker asks nothing: tests look into what may be None, and into figures."""
    return value
