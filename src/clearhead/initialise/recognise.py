"""What a checkpoint of another project is: whose, how large, and whether one may believe it."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clearhead.config import PRESETS, GPTConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.initialise.pretrained import BIGRAM, LECTURE, NANOGPT, Foreign, Layout, listed
from clearhead.initialise.torch_file import load_torch

WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DistributedDataParallel put before every name."""
TABLE, POSITIONS, HEAD = "token_embedding_table.weight", "position_embedding_table.weight", "lm_head.weight"

Weights = dict[str, Tensor]
Said = Mapping[str, Any]
"""What stands in a checkpoint beside its tensors: any values."""


def read_foreign(path: Path, n_head: int | None = None) -> Foreign:
    """A checkpoint of nanoGPT or of the lecture; CheckpointError says in one line what it is instead, or lacks.

    `n_head` is for a nanoGPT state_dict that comes without its model_args.
    """
    loaded = load_torch(path)
    try:
        weights, said = _state_of(loaded)
        _check_size(weights, path.stat().st_size)
        layout = _layout_of(weights)
        weights = _without_masks(weights, layout)
        _check_numbers(weights)
        if layout is BIGRAM:
            return Foreign(path, layout, weights, {"vocab_size": _square(weights[TABLE])})
        heads, tied = _heads(weights, layout, said, n_head), _untie(weights, layout)
        config = _described(weights, layout, heads, tied, _dropout(layout, said))
        _check_said(config, said)
        return Foreign(path, layout, weights, asdict(config), heads, _step(loaded), _own_val_loss(loaded))
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{path} describes a model that cannot be: {error}") from None


def _state_of(loaded: Any) -> tuple[Weights, Said]:
    """The tensors by name, wrappers off, and nanoGPT's model_args; {} where there are none."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"holds a {type(loaded).__name__}, no state_dict; save model.state_dict()")
    held = next((loaded[key] for key in ("model", "state_dict") if isinstance(loaded.get(key), Mapping)), loaded)
    weights: Weights = {}
    for name, tensor in held.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(f"holds {str(name)[:80]!r}, which is no named tensor; save model.state_dict()")
        while wrapper := next((w for w in WRAPPERS if name.startswith(w)), ""):
            name = name.removeprefix(wrapper)
        if name in weights:
            raise CheckpointError(f"holds {name[:80]} twice; save the state_dict of one model")
        weights[name] = tensor
    said = loaded.get("model_args")
    return weights, said if isinstance(said, Mapping) else {}


def _check_size(weights: Weights, size: int) -> None:
    """CheckpointError for what is no plain tensor, or claims more memory than a file of `size` bytes can hold."""
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise CheckpointError(f"has {name[:80]} in a form that is not plain; save float32 tensors")
    if sum(tensor.nbytes for tensor in weights.values()) > 2 * size:  # a tied head is there twice
        raise CheckpointError("claims larger tensors than it holds; torch.save does not write that")


def _layout_of(weights: Weights) -> Layout:
    if NANOGPT.their_names(TABLE, 0)[0] in weights:
        return NANOGPT
    if TABLE in weights:
        return BIGRAM if len(weights) == 1 else LECTURE
    held = listed(weights) if weights else "no tensor"
    raise CheckpointError(f"holds {held}: import knows the checkpoints of nanoGPT, and the lecture's gpt.py, bigram.py")


def _without_masks(weights: Weights, layout: Layout) -> Weights:
    """The weights alone; CheckpointError where a mask lets a token see the future, for our model is causal."""
    masks = {name: mask for name, mask in weights.items() if re.fullmatch(layout.masks, name)}
    for name, mask in masks.items():
        T = mask.shape[-1] if mask.dim() else 0
        if mask.numel() != T * T or not torch.equal(mask.reshape(T, T) != 0, torch.ones(T, T).tril() != 0):
            raise CheckpointError(f"has a mask {name} that is no lower triangle: it lets tokens see the future")
    return {name: tensor for name, tensor in weights.items() if name not in masks}


def _check_numbers(weights: Weights) -> None:
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"has {name[:80]} of type {tensor.dtype}; weights are floating-point numbers")
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"has NaN or infinity in {name[:80]}: training diverged; take an earlier checkpoint")


def _square(table: Tensor) -> int:
    if table.dim() != 2 or table.shape[0] != table.shape[1]:
        raise CheckpointError(f"has {TABLE} of shape {tuple(table.shape)}; a bigram's table is square")
    return len(table)


def _heads(weights: Weights, layout: Layout, said: Said, asked: int | None) -> int:
    """The number of heads: counted in the lecture's names, said by nanoGPT's model_args, or asked for."""
    heads = said.get("n_head", asked)
    if layout is LECTURE and not (heads := _count(weights, r"blocks\.\d+\.sa\.heads\.(\d{1,6})\..+")):
        raise CheckpointError(f"lacks blocks.0.sa.heads.0.query.weight, which {layout.words} has")
    if heads is None:
        raise CheckpointError(
            "has no model_args, and tensors do not tell the number of heads; add --n_head N "
            "(nanoGPT's default is 12, of its character example 6)"
        )
    if type(heads) is not int or heads < 1:
        raise CheckpointError(f"has n_head={heads!r:.40}; a GPT has at least one head")
    if asked not in (None, heads):
        raise CheckpointError(f"has n_head={heads}, not {asked}; leave --n_head out")
    return heads


def _untie(weights: Weights, layout: Layout) -> bool:
    """Take away the second name of a tied head; whether it is tied. The lecture's never is."""
    if layout is not NANOGPT:
        return False
    table, head = weights[NANOGPT.their_names(TABLE, 0)[0]], weights.get(HEAD)
    if head is not None and (head.dtype != table.dtype or not torch.equal(head, table)):
        return False
    weights.pop(HEAD, None)
    return True


def _described(weights: Weights, layout: Layout, n_head: int, tied: bool, dropout: float) -> GPTConfig:
    """Our configuration: by the shapes and the names of the tensors, and for the rest by the layout's preset."""

    def has(ours: str) -> bool:
        return layout.their_names(ours, 1)[0] in weights

    (vocab_size, n_embd), (block_size, _), (width, _) = (
        _matrix(weights, layout, name) for name in (TABLE, POSITIONS, "blocks.0.ffwd.up.weight")
    )
    found = {
        "n_embd": n_embd,
        "n_head": n_head,
        "n_layer": _count(weights, layout.blocks),
        "ffn_width": None if width == 4 * n_embd else width,
        "bias": has("ln_f.bias"),
        "qkv_bias": has("blocks.0.sa.qkv.bias"),
        "head_bias": has("lm_head.bias"),
        "tie_weights": tied,
    }
    architecture = PRESETS[layout.preset] | found
    return GPTConfig(**architecture, vocab_size=vocab_size, block_size=block_size, dropout=dropout)


def _matrix(weights: Weights, layout: Layout, ours: str) -> tuple[int, int]:
    """The shape of a matrix by our name."""
    name = layout.their_names(ours, 1)[0]
    if (tensor := weights.get(name)) is None:
        raise CheckpointError(f"lacks {name}, which {layout.words} has")
    if tensor.dim() != 2:
        raise CheckpointError(f"has {name} of shape {tuple(tensor.shape)}; it is a matrix")
    return tensor.shape[0], tensor.shape[1]


def _count(weights: Weights, numbered: str) -> int:
    """How many there are of what is numbered in names: by the largest number, but never more than the names."""
    numbers = [int(match[1]) for name in weights if (match := re.fullmatch(numbered, name))]
    return min(max(numbers, default=-1) + 1, len(weights))


def _dropout(layout: Layout, said: Said) -> float:
    dropout = said.get("dropout", layout.dropout)
    if not isinstance(dropout, int | float):
        raise CheckpointError(f"says dropout={dropout!r:.40}, which is no number")
    return float(dropout)


def _check_said(config: GPTConfig, said: Said) -> None:
    """CheckpointError where model_args tell of another model than the tensors."""
    for name in ("n_layer", "n_embd", "block_size", "vocab_size", "bias"):
        if name in said and (type(said[name]) not in (int, bool) or said[name] != getattr(config, name)):
            raise CheckpointError(f"says {name}={said[name]!r:.40}, but its tensors {name}={getattr(config, name)}")


def _step(loaded: Said) -> int:
    step = loaded.get("iter_num", 0)
    if type(step) is not int or not 0 <= step < 1 << 40:
        raise CheckpointError(f"says iter_num={step!r:.40}, which is no step")
    return step


def _own_val_loss(loaded: Said) -> float | None:
    """nanoGPT's own estimate; it begins at a number that is no loss."""
    with suppress(TypeError, ValueError, RuntimeError):
        loss = float(loaded["best_val_loss"]) if "best_val_loss" in loaded else math.inf
        return loss if 0 <= loss < 1e6 else None
    return None
