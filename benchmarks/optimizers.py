"""Milliseconds per update of Muon, beside torch.optim.Muon and fused AdamW, on gradients of the same model.

python benchmarks/optimizers.py [--rounds 20] [--json]

`muon` iterates in the type that the hardware suggests, `muon_float32` in float32. torch.optim.Muon, which iterates in
bfloat16 anywhere, moves the same matrices, each packed one as a whole, and has our AdamW for the rest. The sides take
turns, so that a machine that is shared slows all; a ratio is the median over turns of ours over theirs, below 1 is
faster. `near_one` says what fewer steps of Newton-Schulz leave of orthogonality: the share of singular values within
0.6 .. 1.3 when those of the gradient fall evenly to a thousandth of the first.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import arguments, facts, show
from torch import nn

from clearhead.config import GPTConfig, TrainConfig
from clearhead.models.gpt import GPTLanguageModel
from clearhead.optim.adamw import build_adamw
from clearhead.optim.muon import build_muon, hidden_matrices, orthogonalise

SHAPES: dict[str, dict[str, Any]] = {
    "4 layers, 128 wide": {"n_layer": 4, "n_head": 4, "n_embd": 128},
    "6 layers, 384 wide": {"n_layer": 6, "n_head": 6, "n_embd": 384},
}
Update = Callable[[], object]


def with_gradients(shape: dict[str, Any]) -> GPTLanguageModel:
    """A GPT of the preset `modern` over 65 tokens, with random gradients."""
    torch.manual_seed(1)
    model = GPTLanguageModel(GPTConfig(vocab_size=65, block_size=64, **shape))
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    return model


def torchs(model: nn.Module, config: TrainConfig) -> Update:
    """An update by torch.optim.Muon, and AdamW for what is no hidden matrix."""
    matrices = hidden_matrices(model)
    muon = torch.optim.Muon(list(matrices), lr=config.muon_learning_rate)
    rest = build_adamw(nn.ParameterList(p for p in model.parameters() if p not in matrices), config)

    def update() -> None:
        muon.step()
        rest.step()

    return update


def side_by_side(shape: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Median milliseconds of each side, and ours over theirs turn by turn."""
    config = TrainConfig()
    updates = {
        "muon": build_muon(with_gradients(shape), config).step,
        "muon_float32": build_muon(with_gradients(shape), TrainConfig(precision="float32")).step,
        "torch_muon": torchs(with_gradients(shape), config),
        "adamw": build_adamw(with_gradients(shape), config).step,
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in updates}
    for turn in range(rounds + 1):
        for name in sorted(updates, reverse=turn % 2 == 0):
            start = time.perf_counter()
            updates[name]()
            milliseconds[name].append((time.perf_counter() - start) * 1e3)
    measured = {name: values[1:] for name, values in milliseconds.items()}  # the first makes the state
    figures = {f"{name}_milliseconds": round(statistics.median(values), 2) for name, values in measured.items()}
    for name in ("muon_float32", "torch_muon", "adamw"):
        ratios = [ours / theirs for ours, theirs in zip(measured["muon"], measured[name], strict=True)]
        figures[f"ratio_to_{name}"] = round(statistics.median(ratios), 2)
    return figures


def near_one(m: int, n: int, steps: int) -> float:
    """The share of singular values that `steps` of Newton-Schulz bring to 0.6 .. 1.3."""
    torch.manual_seed(1)
    values = torch.logspace(0, -3, m)
    left, right = (torch.linalg.qr(torch.randn(8, size, m))[0] for size in (m, n))
    out = torch.linalg.svdvals(orthogonalise(left @ values.diag() @ right.mT, steps))
    return round(((out > 0.6) & (out < 1.3)).float().mean().item(), 3)


def main() -> int:
    parser = arguments("Milliseconds per update, ours against torch's.")
    parser.add_argument("--rounds", type=int, default=20, help="updates of each side")
    chosen = parser.parse_args()
    figures: dict[str, Any] = {name: side_by_side(shape, chosen.rounds) for name, shape in SHAPES.items()}
    figures["near_one"] = {
        f"{m} x {n}": {f"{k} steps": near_one(m, n, k) for k in (3, 4, 5, 6)} for m, n in ((128, 344), (128, 128))
    }
    figures["threads"] = torch.get_num_threads()
    show({**figures, **facts()}, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
