"""Newton-Schulz as Jordan et al. 2024 list it: one matrix, no batch, in the type that came."""

from torch import Tensor

SHAPES = [(8, 8), (16, 43), (43, 16), (1, 7), (96, 32), (128, 344)]
"""Square, wide, tall, a row: (m, n)."""


def newton_schulz(g: Tensor) -> Tensor:
    """The quintic iteration with its published coefficients, five steps, on (m, n)."""
    x = g / g.norm()
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if g.shape[0] > g.shape[1] else x
