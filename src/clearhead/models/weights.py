"""Smaller weights for the same model: the matrices of a GPT in 8 or 16 bits.

Embeddings, norms, biases and all sums stay in float32. With bfloat16, what the matrices multiply is rounded to bfloat16
too, and so are keys and values: the processor then does twice as much at once, and of a batch half is read. What that
costs is measured on the validation text, not assumed (`Run.cost_of`).

Shapes: I inputs and O outputs of a matrix.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.config import Weights
from clearhead.errors import ConfigError
from clearhead.models.attention import MultiHeadAttention
from clearhead.models.base import LanguageModel
from clearhead.models.gpt import GPTLanguageModel
from clearhead.models.mixture import MixtureLanguageModel


class RoundedLinear(nn.Module):
    """x (..., I) -> x W^T + b, W in fewer bits: widened at every call, and read as it is by `gpt_step.c` alone."""

    weight: Tensor
    """(O, I) int8 or bfloat16."""
    scale: Tensor | None
    """(O,) what a row of int8 is multiplied with."""
    bias: Tensor | None
    """(O,)"""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, scale = linear.weight.detach(), None
        if dtype == torch.int8:
            scale = (weight.abs().amax(dim=1) / 127).clamp(min=torch.finfo(weight.dtype).tiny)  # (O,)
            weight = (weight / scale[:, None]).round()
        self.register_buffer("weight", weight.to(dtype))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O), in the type of x."""
        taken = x.to(self.weight.dtype).to(x.dtype) if self.weight.dtype == torch.bfloat16 else x
        out = F.linear(taken, self.weight.to(x.dtype))
        if self.scale is not None:
            out = out * self.scale
        return out if self.bias is None else out + self.bias


def with_weights(model: LanguageModel, weights: Weights) -> LanguageModel:
    """A copy whose matrices hold fewer bits, for drawing and scoring, not for training; "float32" is the model itself.

    ConfigError for a model that is no GPT and no mixture: it has no matrices.
    """
    if weights == "float32":
        return model
    if not isinstance(model, GPTLanguageModel | MixtureLanguageModel):
        raise ConfigError(
            f"weights={weights} has no meaning for a model of kind {model.kind}: it multiplies no matrices"
        )
    small = copy.deepcopy(model).eval()
    gpt = small.gpt if isinstance(small, MixtureLanguageModel) else small
    for name, layer in list(gpt.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(gpt.get_submodule(parent), own, RoundedLinear(layer, getattr(torch, weights)))
        elif isinstance(layer, MultiHeadAttention) and weights == "bfloat16":
            layer.kept = torch.bfloat16
    return small
