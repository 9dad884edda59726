"""Weights that other projects trained: where each of ours lies in their checkpoints, and our model made of theirs.

A table per project, read in one direction here; written out the other way it is an export.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clearhead import registry
from clearhead.errors import CheckpointError
from clearhead.initialise.foreign import Logits, bigram_logits, lecture_logits, nanogpt_logits
from clearhead.models.base import LanguageModel, shapes_alone


@dataclass(frozen=True)
class Layout:
    """How one project names and cuts the weights of a model that we have too."""

    name: str
    words: str
    """Whose it is, for a person."""
    kind: str
    """Our model."""
    preset: str
    """What no tensor tells: norm, positions, activation."""
    modules: Mapping[str, tuple[str, ...]]
    """Ours -> theirs, whose rows lie on top of each other in ours. {layer} is the block; a name with {head} stands for
    all heads in order before the next name begins. Both sides keep a matrix as (outputs, inputs)."""
    blocks: str
    """A regular expression for the names of a block; its group is the number."""
    masks: str
    """One for the buffers that hold the causal mask."""
    dropout: float
    """Where a checkpoint does not say: that of the project's own script."""
    logits: Logits
    """Their forward pass."""

    def their_names(self, ours: str, n_head: int) -> list[str]:
        """The tensors that one of ours is made of, top to bottom.

        >>> LECTURE.their_names("blocks.1.ffwd.up.bias", 2), NANOGPT.their_names("ln_f.weight", 2)
        (['blocks.1.ffwd.net.0.bias'], ['transformer.ln_f.weight'])
        >>> LECTURE.their_names("blocks.0.sa.qkv.weight", 2)[1:3]
        ['blocks.0.sa.heads.1.query.weight', 'blocks.0.sa.heads.0.key.weight']
        """
        module, _, kind = ours.rpartition(".")
        layer = re.match(r"blocks\.(\d+)\.", ours)
        number = layer[1] if layer else ""
        return [
            f"{name.format(layer=number, head=head)}.{kind}"
            for name in self.modules[module.replace(f"blocks.{number}.", "blocks.{layer}.", 1)]
            for head in range(n_head if "{head}" in name else 1)
        ]


NANOGPT = Layout(
    name="nanogpt",
    words="nanoGPT",
    kind="gpt",
    preset="gpt2",
    modules={
        "token_embedding_table": ("transformer.wte",),
        "position_embedding_table": ("transformer.wpe",),
        "blocks.{layer}.ln1": ("transformer.h.{layer}.ln_1",),
        "blocks.{layer}.sa.qkv": ("transformer.h.{layer}.attn.c_attn",),
        "blocks.{layer}.sa.proj": ("transformer.h.{layer}.attn.c_proj",),
        "blocks.{layer}.ln2": ("transformer.h.{layer}.ln_2",),
        "blocks.{layer}.ffwd.up": ("transformer.h.{layer}.mlp.c_fc",),
        "blocks.{layer}.ffwd.proj": ("transformer.h.{layer}.mlp.c_proj",),
        "ln_f": ("transformer.ln_f",),
        "lm_head": ("lm_head",),
    },
    blocks=r"transformer\.h\.(\d{1,6})\..+",
    masks=r"transformer\.h\.\d+\.attn\.bias",
    dropout=0.0,
    logits=nanogpt_logits,
)
LECTURE = Layout(
    name="lecture",
    words="the lecture's gpt.py",
    kind="gpt",
    preset="lecture",
    modules={
        "token_embedding_table": ("token_embedding_table",),
        "position_embedding_table": ("position_embedding_table",),
        "blocks.{layer}.ln1": ("blocks.{layer}.ln1",),
        "blocks.{layer}.sa.qkv": tuple(
            f"blocks.{{layer}}.sa.heads.{{head}}.{part}" for part in ("query", "key", "value")
        ),
        "blocks.{layer}.sa.proj": ("blocks.{layer}.sa.proj",),
        "blocks.{layer}.ln2": ("blocks.{layer}.ln2",),
        "blocks.{layer}.ffwd.up": ("blocks.{layer}.ffwd.net.0",),
        "blocks.{layer}.ffwd.proj": ("blocks.{layer}.ffwd.net.2",),
        "ln_f": ("ln_f",),
        "lm_head": ("lm_head",),
    },
    blocks=r"blocks\.(\d{1,6})\..+",
    masks=r"blocks\.\d+\.sa\.heads\.\d+\.tril",
    dropout=0.2,
    logits=lecture_logits,
)
BIGRAM = Layout(
    name="bigram",
    words="the lecture's bigram.py",
    kind="bigram",
    preset="modern",
    modules={"token_embedding_table": ("token_embedding_table",)},
    blocks=r"(?!)",
    masks=r"(?!)",
    dropout=0.0,
    logits=bigram_logits,
)


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another project, recognised: its tensors by its own names, and all that it says of them."""

    path: Path
    layout: Layout
    weights: Mapping[str, Tensor]
    """Without wrappers, masks, and the second name of a tied head."""
    config: Mapping[str, Any]
    """Of our model."""
    n_head: int = 0
    """0 where there are none."""
    step: int = 0
    own_val_loss: float | None = None
    """What its own trainer estimated, in nats per token, where it says."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config["vocab_size"]

    def model(self, order: Sequence[int] | None = None) -> LanguageModel:
        """Our model with these weights, in float32; CheckpointError names a tensor that is missing, new or misshapen.

        With `order` (V,), token i is the checkpoint's token order[i].
        """
        kind, config = registry.resolve("models", self.layout.kind), dict(self.config)
        with shapes_alone():  # a file that lies about them costs no memory
            wanted = {name: tensor.shape for name, tensor in kind.from_config(config).state_dict().items()}
        sources = {name: self.layout.their_names(name, self.n_head) for name in wanted}
        used = set(itertools.chain.from_iterable(sources.values()))
        if missing := used - self.weights.keys():
            raise CheckpointError(f"{self.path} lacks {listed(missing)}, which {self.layout.words} has")
        if new := self.weights.keys() - used:
            raise CheckpointError(f"{self.path} holds {listed(new)}, which {self.layout.words} does not have")
        state = {name: self._stacked(sources[name], shape) for name, shape in wanted.items()}
        return kind.restore(config, state if order is None else self._reordered(state, list(order))).eval()

    def logits(self, idx: Tensor) -> Tensor:
        """Their own forward pass over their own tensors: idx (B, T) -> (B, T, V) float64, without gradients."""
        with torch.no_grad():
            return self.layout.logits(self.weights, idx, self.n_head)

    def _stacked(self, names: Sequence[str], shape: torch.Size) -> Tensor:
        wanted = (shape[0] // len(names), *shape[1:])
        for name in names:
            if (found := tuple(self.weights[name].shape)) != wanted:
                raise CheckpointError(f"{self.path} has {name} of shape {found}; its other tensors want {wanted}")
        return torch.cat([self.weights[name].float() for name in names])

    def _reordered(self, state: dict[str, Tensor], order: list[int]) -> dict[str, Tensor]:
        """The same weights for tokens in another order: rows of the embedding and of the head."""
        moved = {n: state[n][order] for n in state if n.startswith(("token_embedding_table.", "lm_head."))}
        if self.layout is BIGRAM:
            moved = {name: rows[:, order] for name, rows in moved.items()}
        return state | moved


def listed(names: Iterable[str]) -> str:
    """The first three of some names, in order, and how many more there are.

    >>> listed(["d", "c", "b", "a"])
    'a, b, c and 1 more'
    """
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(name[:80] for name in ordered[:3]) + more
