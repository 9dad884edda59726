"""Where the matrices of a GPT begin."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from clearhead.errors import ConfigError
from clearhead.models.attention import MultiHeadAttention
from clearhead.models.gpt import FeedForward, GPTLanguageModel

GPT_NAMES = ("normal", "scaled", "xavier", "zero_projections")

STD = 0.02
"""Of the normal starts and of every embedding (Radford et al. 2018, section 4.1)."""


def initialise_gpt(model: GPTLanguageModel, name: str, generator: torch.Generator) -> None:
    """Draw embeddings and matrices as named; norms begin at 1, biases at 0.

    `xavier` is uniform within sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010, eq. 16), each of the matrices
    that are packed into one by its own shape. The factor of `scaled` is from Radford et al. 2019, section 2.3.
    """
    if name == "zero_projections" and model.config.without == "residual":
        raise ConfigError(
            "without=residual nothing passes by projections that begin at zero, so nothing would be learned; "
            "try --init normal"
        )
    _reset_vectors(model)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.copy_(_normal(module.weight, generator))
    for matrix in _matrices(model):
        matrix.copy_(_xavier(matrix, generator) if name == "xavier" else _normal(matrix, generator))
    factor = {"scaled": (2 * model.config.n_layer) ** -0.5, "zero_projections": 0.0}.get(name, 1.0)
    for sublayer in _sublayers(model):
        sublayer.proj.weight.mul_(factor)
    if name == "zero_projections" and not model.config.tie_weights:
        model.lm_head.weight.zero_()


def gpt_first_loss(model: GPTLanguageModel, name: str) -> float:
    """Mean nats per token at the start, on text that is independent of the weights.

    The head turns a stream with coordinates of mean square m into logits of variance s^2 = C m var(head), and those
    cost ln V + s^2 / 2. A tied head knows its own token again, but only where the sublayers begin at zero: elsewhere
    they drown the embedding (measured: at C = 768 they leave 0.02 of the 11 nats that it alone would cost).
    """
    config, V, C = model.config, model.vocab_size, model.config.n_embd
    zero = name == "zero_projections"
    if zero and not config.tie_weights:
        return math.log(V)
    token = STD**2 * (C if config.scale_embedding else 1)
    stream = token + (STD**2 if config.positions == "learned" else 0.0)
    m = stream if config.norm == "none" else 1.0
    head = 2 / (C + V) if name == "xavier" and not config.tie_weights else STD**2
    loss = math.log(V) + C * m * head / 2
    if not zero:
        return loss
    own = C * STD * math.sqrt(m * token / stream)  # the token's embedding times the stream; one target in V is it
    return max(loss, own) + math.log1p(math.exp(-abs(loss - own))) - own / V


def _sublayers(model: GPTLanguageModel) -> Iterator[MultiHeadAttention | FeedForward]:
    """What writes into the residual stream, each through its `proj`."""
    return (module for module in model.modules() if isinstance(module, MultiHeadAttention | FeedForward))


def _matrices(model: GPTLanguageModel) -> Iterator[Tensor]:
    """Every matrix but the embeddings; those that are packed into one come apart."""
    gated = model.config.activation == "swiglu"
    for sublayer in _sublayers(model):
        if isinstance(sublayer, MultiHeadAttention):
            yield from sublayer.qkv.weight.chunk(3)
        else:
            yield from sublayer.up.weight.chunk(2 if gated else 1)
        yield sublayer.proj.weight
    if not model.config.tie_weights:
        yield model.lm_head.weight


def _reset_vectors(model: GPTLanguageModel) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty(like.shape).normal_(0.0, STD, generator=generator)


def _xavier(like: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.xavier_uniform_(torch.empty(like.shape), generator=generator)
