"""Models of other projects in their structure and by their names, with weights none of which is zero or one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lecture_gpt import LectureGPT

SHAPE: dict[str, int] = {"block_size": 16, "n_embd": 24, "n_head": 3, "n_layer": 2}


class Norm(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class NanoAttention(nn.Module):
    def __init__(self, width: int, n_head: int, bias: bool) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        parts = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(*parts, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class NanoMLP(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=bias)
        self.c_proj = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class NanoBlock(nn.Module):
    def __init__(self, width: int, n_head: int, bias: bool) -> None:
        super().__init__()
        self.ln_1, self.attn = Norm(width, bias), NanoAttention(width, n_head, bias)
        self.ln_2, self.mlp = Norm(width, bias), NanoMLP(width, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """Tied embedding, packed heads, biases everywhere or nowhere."""

    def __init__(self, *, vocab_size: int, block_size: int, n_embd: int, n_head: int, n_layer: int, bias: bool) -> None:
        super().__init__()
        self.args: dict[str, int] = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd, "bias": bias}
        self.args |= {"vocab_size": vocab_size, "block_size": block_size}
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab_size, n_embd),
                "wpe": nn.Embedding(block_size, n_embd),
                "h": nn.ModuleList(NanoBlock(n_embd, n_head, bias) for _ in range(n_layer)),
                "ln_f": Norm(n_embd, bias),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.get_parameter("transformer.wte.weight")

    def forward(self, idx: Tensor) -> Tensor:
        x = self.transformer["wte"](idx) + self.transformer["wpe"](torch.arange(idx.shape[1]))
        for block in self.get_submodule("transformer.h").children():
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x))


def lively(model: nn.Module) -> Any:
    """Fill a model so that every weight moves the logits."""
    rng = torch.Generator().manual_seed(7)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            nn.init.normal_(weight, 0.0 if name.endswith("bias") else 1.0, 0.3, generator=rng)
        else:
            spread = 1.0 if any(part in name for part in ("embedding", "wte", "wpe")) else weight.shape[1] ** -0.5
            nn.init.normal_(weight, std=spread, generator=rng)
    return model.eval()


def nanogpt(vocab_size: int, *, bias: bool = True, **shape: int) -> NanoGPT:
    return lively(NanoGPT(vocab_size=vocab_size, bias=bias, **SHAPE | shape))


def nanogpt_checkpoint(model: NanoGPT, **changes: Any) -> dict[str, Any]:
    """What nanoGPT's trainer saves, an optimizer's state among it."""
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    optimizer.step()
    model.zero_grad()
    checkpoint = {
        "model": {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": {**model.args, "dropout": 0.2},
        "iter_num": 250,
        "best_val_loss": torch.tensor(1.4697),
        "config": {"dataset": "shakespeare_char", "learning_rate": 1e-3, "compile": True},
    }
    return checkpoint | changes


def lecture(vocab_size: int, **shape: int) -> LectureGPT:
    return lively(LectureGPT(vocab_size, **SHAPE | shape))


def lecture_state(model: LectureGPT) -> dict[str, Tensor]:
    """Its weights and masks by the names that gpt.py gives them."""
    return {name.replace(".net.", ".ffwd.net."): tensor for name, tensor in model.state_dict().items()}
