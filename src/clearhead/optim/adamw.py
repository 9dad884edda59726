"""AdamW (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"), decaying matrices only."""

import torch
from torch import nn

from clearhead.config import TrainConfig


def build_adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """The optimizer of a model's trainable parameters.

    Weight decay shrinks what multiplies activations; a bias or a norm's gain has nothing to regularise, so
    parameters of fewer than two dimensions are left alone.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=all(p.device.type in ("cpu", "cuda", "mps") for p in parameters),
    )
