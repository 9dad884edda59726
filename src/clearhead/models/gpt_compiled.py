"""A GPT's next token by a small C program, where there is a compiler: one call per token, at the memory's speed.

Without a compiler `gpt_decoding.py` does the same by numpy. The structures here are those of `gpt_step.c`, field for
field; a decoder keeps alive the arrays that they point into.

Shapes: n rows, C = n_embd, V vocabulary, S positions of the cache.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.models.attention import KVCache
from clearhead.models.gpt import Block, GPTLanguageModel
from clearhead.models.weights import RoundedLinear

ACTIVATIONS = ("relu", "relu2", "gelu", "gelu_tanh", "swiglu")
KINDS = {torch.float32: 0, torch.int8: 1, torch.bfloat16: 2}

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class _Linear(ctypes.Structure):
    _fields_ = [
        *((name, _POINTER) for name in ("weight", "scale", "bias")),
        *((name, _INT) for name in ("kind", "inputs", "outputs")),
    ]


class _Norm(ctypes.Structure):
    _fields_ = [("weight", _POINTER), ("bias", _POINTER), ("kind", _INT), ("eps", ctypes.c_float)]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Norm) for name in ("norm1", "norm_q", "norm_k", "norm2")),
        *((name, _Linear) for name in ("qkv", "proj", "up", "down")),
        *((name, _POINTER) for name in ("k", "v")),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, _INT) for name in ("layers", "width", "heads", "size", "room", "activation", "threads", "kept")),
        *((name, _POINTER) for name in ("layer", "tokens", "positions", "cos", "sin")),
        ("norm", _Norm),
        ("head", _Linear),
    ]


class CompiledDecoder:
    """`Decode` by the compiled step, for a GPT in float32 that `gpt_decoding.understands` accepts."""

    def __init__(self, model: GPTLanguageModel, cache: KVCache, steps: ctypes.CDLL) -> None:
        steps.step.argtypes, steps.step.restype = [*[_POINTER] * 4, _INT, _POINTER, _POINTER], None
        steps.step_room.argtypes, steps.step_room.restype = [_POINTER, _INT], _INT
        config = model.config
        self.steps, self.lengths, self.S, self.V = steps, cache.lengths, config.block_size, config.vocab_size
        matrices = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear | RoundedLinear)]
        self.weights, self.bytes = matrices[0].dtype, sum(matrix.nbytes for matrix in matrices)
        self.kept: list[Any] = [cache.k, cache.v]
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        self.room = torch.empty(0)  # where a step computes; it grows with the rows
        scale = config.n_embd**0.5 if config.scale_embedding else 1.0
        rotary = blocks[0].sa.rotary
        layers = (_Layer * len(blocks))(*(self._layer(b, cache.k[i], cache.v[i]) for i, b in enumerate(blocks)))
        self.kept.append(layers)
        self.model = _Model(
            layers=len(blocks),
            width=config.n_embd,
            heads=config.n_head,
            size=config.head_size,
            room=config.block_size,
            activation=ACTIVATIONS.index(config.activation),
            threads=torch.get_num_threads(),
            kept=KINDS[cache.k.dtype],
            layer=ctypes.cast(layers, _POINTER),
            tokens=self._address(model.token_embedding_table.weight * scale),
            positions=self._address(model.position_embedding_table.weight if config.positions == "learned" else None),
            cos=self._address(None if rotary is None else rotary.cos),
            sin=self._address(None if rotary is None else rotary.sin),
            norm=self._norm(model.ln_f),
            head=self._linear(model.lm_head),
        )

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Logits (n, V) after the next tokens of the first n rows of the cache; ValueError when one has no room."""
        lengths = self.lengths[: len(ids)]
        logits = self._step(ids, range(len(ids)), lengths.tolist())
        lengths += 1
        return logits

    def ahead(self, ids: Sequence[int]) -> Tensor:
        """Logits (n, V) after each of n tokens that may come next in the first row, which forgets them again."""
        begin = int(self.lengths[0])
        return self._step(ids, [0] * len(ids), range(begin, begin + len(ids)))

    def _step(self, ids: Sequence[int], slots: Sequence[int], at: Sequence[int]) -> Tensor:
        """Logits (n, V) after tokens, each at its position of its row."""
        n = len(ids)
        if (longest := max(at)) >= self.S:
            raise ValueError(f"a row would hold {longest + 1} tokens in a cache of {self.S}; refill its window")
        arrays, logits, model = _INT * n, torch.empty(n, self.V), ctypes.byref(self.model)
        if (needed := self.steps.step_room(model, n)) > len(self.room):
            self.room = torch.empty(needed)
        places = arrays(*ids), arrays(*slots), arrays(*at)
        self.steps.step(model, *places, n, logits.data_ptr(), self.room.data_ptr())
        return logits

    def _layer(self, block: Block, k: Tensor, v: Tensor) -> _Layer:
        sa, ffwd = block.sa, block.ffwd
        norms = map(self._norm, (block.ln1, sa.q_norm, sa.k_norm, block.ln2))
        linears = map(self._linear, (sa.qkv, sa.proj, ffwd.up, ffwd.proj))
        return _Layer(*norms, *linears, k.data_ptr(), v.data_ptr())

    def _linear(self, layer: nn.Module) -> _Linear:
        assert isinstance(layer, nn.Linear | RoundedLinear)
        O, I = layer.weight.shape  # noqa: E741
        scale = layer.scale if isinstance(layer, RoundedLinear) else None
        addresses = map(self._address, (layer.weight, scale, layer.bias))
        return _Linear(*addresses, KINDS[layer.weight.dtype], I, O)

    def _norm(self, layer: nn.Module | None) -> _Norm:
        if isinstance(layer, nn.LayerNorm):
            return _Norm(self._address(layer.weight), self._address(layer.bias), 1, layer.eps)
        if isinstance(layer, nn.RMSNorm):
            return _Norm(self._address(layer.weight), None, 2, layer.eps or 0.0)
        return _Norm(None, None, 0, 0.0)

    def _address(self, tensor: Tensor | None) -> int | None:
        """Where the values of a tensor begin; it is kept from being freed."""
        if tensor is None:
            return None
        values = tensor.detach().contiguous()
        self.kept.append(values)
        return values.data_ptr()
