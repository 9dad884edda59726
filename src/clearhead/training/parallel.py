"""How a step is computed on this device: micro-batches, precision, compilation."""

from collections.abc import Callable

import torch
from torch import Tensor

from clearhead.config import TrainConfig
from clearhead.models.base import LanguageModel, Output
from clearhead.runtime import Runtime

Forward = Callable[[Tensor, Tensor], Output]

COMPILE_PAYS_AFTER = 1_000
"""Steps: below it a GPU run ends before the compiler's warm-up is earned back."""


def prepare_forward(
    model: LanguageModel, config: TrainConfig, runtime: Runtime, probe: tuple[Tensor, Tensor]
) -> tuple[Forward, str | None]:
    """The forward pass to train with, and one line when compiling was wanted but did not work.

    `probe` is a batch (x, y) of the shapes to come: it is run once forward and backward, so that a compiler that
    fails does so here, not at step 1. On a CPU "auto" does not compile: it took 23 s to warm up for about 10 %.
    """
    wanted = config.compile == "on" or (
        config.compile == "auto" and runtime.device.type == "cuda" and config.max_iters >= COMPILE_PAYS_AFTER
    )
    if not wanted:
        return model, None
    try:
        compiled = torch.compile(model, dynamic=False)
        with runtime.autocast():
            _, loss = compiled(*probe)
        loss.backward()
    except Exception as error:  # a compiler fails in its own ways: missing toolchain, unsupported operator, ...
        return (
            model,
            f"torch.compile did not work ({str(error).splitlines()[0][:120]}); training goes on without it",
        )
    finally:
        model.zero_grad(set_to_none=True)
    return compiled, None


def micro_batches(x: Tensor, y: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """A batch (B, T) in `count` equal parts (B / count, T)."""
    return list(zip(x.chunk(count), y.chunk(count), strict=True))
