"""Muon for the hidden matrices, AdamW for the rest.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon):
a matrix moves by its momentum with all singular values brought near 1, so that rare directions learn as fast as
common ones. Shapes: a stack of S matrices is (S, m, n).

Where ranks hold rows of the weights, each gets some of the matrices whole, and orthogonalises those (`sharded.Deal`).
"""

# torch documents its _foreach functions, one launch for many tensors, but does not export them to type checkers.
# pyright: reportPrivateImportUsage=false

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.config import TrainConfig
from clearhead.optim.adamw import build_adamw
from clearhead.optim.sharded import Deal, is_sharded, local
from clearhead.runtime import native_bfloat16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x^3 and x^5: steep at 0, so that few steps do; singular values end between 0.68 and 1.2, not at 1."""
STEPS = 5
"""Of Newton-Schulz. Of singular values falling evenly to a thousandth of the first (128 x 344), 3, 4, 5 and 6 steps
bring 43, 60, 77 and 94 % to 0.6 .. 1.3; of a Gaussian matrix, all in 3."""
MOMENTUM = 0.95
NORM_FLOOR = 1e-7
"""A zero gradient is divided by this, and stays zero."""


def build_muon(model: nn.Module, config: TrainConfig) -> "Muon":
    """The optimizer of a model's trainable parameters: Muon for its `hidden_matrices`, AdamW for the rest.

    A model without layers (the bigram) has no hidden matrices and is left to AdamW altogether.
    """
    matrices = hidden_matrices(model)
    others = nn.ParameterList(p for p in model.parameters() if p not in matrices)
    return Muon(
        matrices,
        build_adamw(others, config),
        lr=config.muon_learning_rate,
        weight_decay=config.weight_decay,
        dtype=_iteration_type(next(iter(matrices), None), config),
    )


def _iteration_type(weight: nn.Parameter | None, config: TrainConfig) -> torch.dtype | None:
    """bfloat16 for float32 weights where the hardware multiplies in it, unless float32 was asked for by name.

    Newton-Schulz leaves values between 0.68 and 1.2 anyhow; the three digits of bfloat16 change an update by 1 %.
    With AVX-512 BF16 it took a quarter of float32's time (one core, Zen 5); without, 2.5 to 4 times as long.
    """
    if weight is None or weight.dtype != torch.float32 or config.precision == "float32":
        return None
    return torch.bfloat16 if native_bfloat16(weight.device) else None


def hidden_matrices(model: nn.Module) -> dict[nn.Parameter, int]:
    """The trainable weights of linear maps inside a stack of layers, each with how many matrices its rows hold.

    Embeddings and the head stand outside the stack: their rows belong to tokens.
    """
    stacks = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    sublayers = (module for stack in stacks for module in stack.modules())
    return {
        weight: _packed(sublayer, linear)
        for sublayer in sublayers
        for linear in sublayer.children()
        if isinstance(linear, nn.Linear) and (weight := linear.get_parameter("weight")).requires_grad
    }


def _packed(sublayer: nn.Module, linear: nn.Linear) -> int:
    """How many matrices lie in a linear map: three of query, key and value, two of a gate and what it gates.

    A sublayer's `proj` reads as many features as the sublayer computes; what writes k times as many is k matrices.
    Jordan et al. report that orthogonalising queries, keys and values each by itself works better.
    """
    proj = getattr(sublayer, "proj", None)
    if linear is proj or not isinstance(proj, nn.Linear) or linear.out_features % proj.in_features:
        return 1
    return linear.out_features // proj.in_features


class Muon(torch.optim.Optimizer):
    """One optimizer of two kinds of groups: the first is moved by Muon, the others are those of an AdamW.

    `matrices` says of each parameter (k m, n) how many matrices (m, n) it holds. An update is
    lr sqrt(max(1, m / n)) times the orthogonalised Nesterov momentum (the factor is that of Jordan et al.'s own
    code, and of torch.optim.Muon unless told otherwise); weight decay is decoupled, at lr without the factor. State
    of a parameter: `momentum_buffer`, of its shape. `dtype` is the type of the iteration, by default the weights'.
    """

    def __init__(
        self,
        matrices: dict[nn.Parameter, int],
        adamw: torch.optim.AdamW,
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = MOMENTUM,
        steps: int = STEPS,
        dtype: torch.dtype | None = None,
    ) -> None:
        hidden = {
            "params": list(matrices),
            "parts": list(matrices.values()),
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "steps": steps,
            "dtype": dtype,
        }
        super().__init__([hidden, *adamw.param_groups], {})
        self._adamw = adamw

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient; what `closure` returns, when it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        hidden, *others = self.param_groups
        self._step_matrices(hidden)
        # AdamW works on our groups and our state, bound anew because load_state_dict replaces both.
        self._adamw.param_groups, self._adamw.state = others, self.state
        self._adamw.step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        matrices = {p: k for p, k in zip(group["params"], group["parts"], strict=True) if p.grad is not None}
        if not matrices:
            return
        weights, parts = list(matrices), list(matrices.values())
        momenta = [local(self._momentum(p)) for p in weights]
        mine, gradients = [local(p) for p in weights], [local(p.grad) for p in weights if p.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov's look ahead
        torch._foreach_mul_(mine, 1 - group["lr"] * group["weight_decay"])
        if not is_sharded(weights[0]):
            self._move(mine, directions, parts, group)
            return
        deal = Deal(weights)  # no row can be orthogonalised without the others
        gathered = deal.gather(directions)
        moves = [torch.zeros_like(matrix) for matrix in gathered]
        self._move(moves, gathered, [parts[index] for index in deal.mine], group)
        torch._foreach_add_(mine, deal.scatter(moves, like=mine[0]))

    def _move(
        self, weights: Sequence[Tensor], directions: Sequence[Tensor], parts: Sequence[int], group: dict[str, Any]
    ) -> None:
        """Add the orthogonalised directions to whole weights."""
        for (m, n), (stack, updates) in _stacks(weights, directions, parts).items():
            orthogonal = orthogonalise(torch.stack(updates), group["steps"], group["dtype"])  # (S, m, n)
            torch._foreach_add_(stack, orthogonal.unbind(), alpha=-group["lr"] * max(1, m / n) ** 0.5)

    def _momentum(self, weight: nn.Parameter) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]


def _stacks(
    weights: Sequence[Tensor], directions: Sequence[Tensor], parts: Sequence[int]
) -> dict[tuple[int, int], tuple[list[Tensor], list[Tensor]]]:
    """Views of the single matrices and of their directions, by shape (m, n).

    Small products leave cores idle; a stack of equal shapes is one batched product.
    """
    stacks = defaultdict(lambda: ([], []))
    for weight, direction, k in zip(weights, directions, parts, strict=True):
        shape = (weight.shape[0] // k, weight.shape[1])
        for views, packed in zip(stacks[shape], (weight, direction), strict=True):
            views.extend(packed.chunk(k))
    return stacks


def orthogonalise(matrices: Tensor, steps: int = STEPS, dtype: torch.dtype | None = None) -> Tensor:
    """The same singular vectors, the singular values near 1: (S, m, n) -> (S, m, n), in the type that came.

    Newton-Schulz in the form of Jordan et al., on the side that has fewer rows than columns, computed in `dtype`.
    Values below a few thousandths of the largest (square random matrices have some) stay below 0.6; zero stays zero.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=NORM_FLOOR)).to(dtype or x.dtype)
    for _ in range(steps):
        gram = x @ x.mT  # (S, m, m)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
