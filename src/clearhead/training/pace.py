"""How long a step takes, and how long scoring a token: measured on this machine, before a run is made."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.loss import evaluating
from clearhead.initialise import default_name, initialise
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.weighing import build_model

PROBE_STEPS = 5


@dataclass(frozen=True)
class Pace:
    """What was measured."""

    step_seconds: float
    token_seconds: float
    """Of a pass without gradients."""
    parameters: int


def measure_pace(config: RunConfig, data: TokenDataset, tokenizer: Tokenizer, runtime: Runtime) -> Pace:
    """Make a few steps of a configuration, and score a batch, after one of each that warms up."""
    train, ids = config.train, data.counted("train")
    model = build_model(config, tokenizer.vocab_size).to(runtime.device, runtime.dtype)
    initialise(model, config.init or default_name(config.trained, config.preset), seed=train.seed, ids=ids)
    optimizer = registry.resolve("optimizers", train.optimizer)(model, train)
    B, T = train.batch_size, train.block_size
    x, y = data.get_batch("train", 0, batch_size=B, block_size=T, seed=train.seed)
    x, y = x.to(runtime.device), y.to(runtime.device)

    def step() -> None:
        with runtime.autocast():
            _, loss = model(x, y)
        assert loss is not None
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def score() -> None:
        with evaluating(model):
            model(x, y)

    score_seconds = min(_timed(score, runtime) for _ in range(2))
    step_seconds = statistics.median([_timed(step, runtime) for _ in range(1 + PROBE_STEPS)][1:])
    return Pace(step_seconds, score_seconds / x.numel(), model.num_parameters())


def _timed(action: Callable[[], None], runtime: Runtime) -> float:
    runtime.synchronize()
    begun = time.perf_counter()
    action()
    runtime.synchronize()
    return time.perf_counter() - begun


def matrix_rate(runtime: Runtime) -> float:
    """Floating-point operations per second of the best of five (16384 x 384) x (384 x 1536) products."""
    m, k, n = 16_384, 384, 1_536
    a = torch.randn(m, k, device=runtime.device, dtype=runtime.dtype)
    b = torch.randn(k, n, device=runtime.device, dtype=runtime.dtype)
    seconds = []
    with runtime.autocast():
        for _ in range(6):
            runtime.synchronize()
            start = time.perf_counter()
            torch.matmul(a, b)
            runtime.synchronize()
            seconds.append(time.perf_counter() - start)
    return 2 * m * k * n / min(seconds[1:])
