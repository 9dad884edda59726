"""How a step is computed on this device: micro-batches, precision, compilation."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from clearhead.config import TrainConfig
from clearhead.models.base import LanguageModel, Output
from clearhead.runtime import Runtime

Forward = Callable[[Tensor, Tensor], Output]

COMPILE_PAYS_AFTER = 1_000
"""Steps: below it a GPU run ends before the compiler's warm-up is earned back."""


def wants_compile(config: TrainConfig, runtime: Runtime) -> bool:
    """Whether a run should be compiled. On a CPU "auto" does not: it took 23 s to warm up for about 10 %."""
    pays = runtime.device.type == "cuda" and config.max_iters >= COMPILE_PAYS_AFTER
    return config.compile == "on" or (config.compile == "auto" and pays)


def compile_forward(model: LanguageModel, runtime: Runtime, probe: tuple[Tensor, Tensor]) -> tuple[Forward, str | None]:
    """The compiled forward pass, or the model itself and one line that says why compiling did not work.

    `probe` is a batch (x, y) of the shapes to come: it is run once forward and backward, so that a compiler that
    fails does so here, not at step 1.
    """
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


def micro_batches(x: Tensor, y: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """A batch (B, T) in `count` parts as equal as can be, each with its share of the rows."""
    for part_x, part_y in zip(x.tensor_split(count), y.tensor_split(count), strict=True):
        yield part_x, part_y, len(part_x) / len(x)
