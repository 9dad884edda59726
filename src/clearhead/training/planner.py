"""From a time budget to explicit numbers: measure this machine, weigh sizes, choose one."""

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch.nn.utils import clip_grad_norm_

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import Rung, losses_by_rung, score_split
from clearhead.evaluation.loss import evaluating
from clearhead.initialise import default_name, initialise
from clearhead.models.gpt import GPTLanguageModel
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget
from clearhead.training.console import duration
from clearhead.training.expectation import Expectation, dropout_for, expect

SHAPES = (
    {"n_layer": 2, "n_embd": 64, "n_head": 2, "block_size": 64},
    {"n_layer": 4, "n_embd": 128, "n_head": 4, "block_size": 128},
    {"n_layer": 4, "n_embd": 192, "n_head": 6, "block_size": 128},
    {"n_layer": 6, "n_embd": 192, "n_head": 6, "block_size": 256},
    {"n_layer": 6, "n_embd": 256, "n_head": 8, "block_size": 256},
    {"n_layer": 6, "n_embd": 384, "n_head": 6, "block_size": 256},
    {"n_layer": 8, "n_embd": 512, "n_head": 8, "block_size": 512},
    {"n_layer": 12, "n_embd": 768, "n_head": 12, "block_size": 1024},
)
"""The sizes that are weighed, each dearer than the one before."""
TOKENS_PER_STEP = {"cpu": 2_048, "mps": 8_192, "cuda": 16_384}
"""What keeps a device busy; on a CPU more tokens a step only make fewer steps."""
PROBE_STEPS = 3
PROBE_SHARE = 0.06
"""Of the budget, for measuring."""
FIRST_STRETCH = 0.4
"""The share of the steps at the peak rate; where it ends the rest is planned anew."""
DEV_STRETCH = 0.1
"""The share of the steps that learn from dev too: what the text says last is what validation goes on from."""
SECONDS_PER_EVALUATION, MOST_EVALUATIONS = 15.0, 20
SECONDS_PER_BATCH = 10.0
"""Of the budget, for each batch and split of an evaluation."""
LEAST_STEPS = 10
SCORED_TIMES, MIXING, END = 2.0, 2.0, 1.0
"""After the last step: how often validation and dev pass through the GPT, how often all is counted, other seconds."""


@dataclass(frozen=True)
class Plan:
    """What the planner chose, in numbers and in words."""

    config: RunConfig
    budget: Budget
    expected: Expectation
    words: str


@dataclass(frozen=True)
class Candidate:
    """A configuration that fits the budget, with what a step costs and what the run should reach."""

    config: RunConfig
    step_seconds: float
    reserve: float
    expected: Expectation


def make_plan(
    config: RunConfig,
    fixed: Collection[str],
    data: TokenDataset,
    tokenizer: Tokenizer,
    rungs: Sequence[Rung],
    budget: Budget,
    runtime: Runtime,
) -> Plan:
    """The configuration that should reach the lowest loss in what is left of a budget.

    Every size is tried for a few steps, from the cheapest on, until one promises less than the one before or
    measuring has used its share of the time. What is in `fixed` stays as `config` has it.
    """
    best: Candidate | None = None
    deadline = time.perf_counter() + PROBE_SHARE * budget.seconds
    for shape in SHAPES:
        candidate = _weigh(_shaped(config, shape, fixed, data, runtime), fixed, data, tokenizer, rungs, budget, runtime)
        if best is not None and candidate.expected.gpt >= best.expected.gpt:
            break
        best = candidate
        if time.perf_counter() > deadline or {"n_layer", "n_embd"} <= set(fixed):
            break
    assert best is not None
    planned = replace(budget, reserve=best.reserve)
    if "max_iters" not in fixed:
        planned = replace(planned, replan_at=math.ceil(FIRST_STRETCH * best.config.train.max_iters))
    return Plan(best.config, planned, best.expected, _words(best, planned, data, runtime))


def _shaped(
    config: RunConfig, shape: Mapping[str, int], fixed: Collection[str], data: TokenDataset, runtime: Runtime
) -> RunConfig:
    """The configuration in one of the `SHAPES`, its context no longer than the text can fill."""
    block_size = config.train.block_size if "block_size" in fixed else data.fits(shape["block_size"])
    settings = {
        **shape,
        "block_size": block_size,
        "batch_size": max(1, TOKENS_PER_STEP[runtime.device.type] // block_size),
    }
    return config.with_settings({name: value for name, value in settings.items() if name not in fixed})


def _weigh(
    config: RunConfig,
    fixed: Collection[str],
    data: TokenDataset,
    tokenizer: Tokenizer,
    rungs: Sequence[Rung],
    budget: Budget,
    runtime: Runtime,
) -> Candidate:
    """Measure a configuration, count off how many steps it can make, and choose its dropout by that."""
    once = len(data.ids("train"))
    counting = sum(rung.fit_seconds or 0.0 for rung in rungs)
    scored = len(data.ids(score_split(data))) + len(data.ids("dev"))
    while True:
        step_seconds, token_seconds, parameters = _probe(config, tokenizer, data, runtime)
        reserve = SCORED_TIMES * token_seconds * scored + MIXING * counting + END
        left = replace(budget, reserve=reserve).left()
        steps = config.train.max_iters if "max_iters" in fixed else max(LEAST_STEPS, int(left / step_seconds))
        tokens = steps * config.train.batch_size * config.train.block_size
        dropout = config.train.dropout if "dropout" in fixed else dropout_for(tokens / once)
        if dropout <= config.train.dropout:
            break
        config = config.with_settings({"dropout": dropout})  # it costs time: measure again
    evaluations = min(MOST_EVALUATIONS, max(3, round(budget.seconds / SECONDS_PER_EVALUATION)))
    values = {
        "max_iters": steps,
        "dev_iters": round(DEV_STRETCH * steps),
        "decay_iters": max(1, steps - math.ceil(FIRST_STRETCH * steps)),
        "warmup_iters": min(config.train.warmup_iters, max(1, steps // 20)),
        "eval_interval": math.ceil(steps / evaluations),
        "eval_iters": min(config.train.eval_iters, max(2, round(budget.seconds / SECONDS_PER_BATCH))),
        "save_interval": math.ceil(steps / evaluations),
    }
    chosen = config.with_settings({name: value for name, value in values.items() if name not in fixed})
    return Candidate(chosen, step_seconds, reserve, expect(parameters, tokens, once, losses_by_rung(rungs)))


def _probe(config: RunConfig, tokenizer: Tokenizer, data: TokenDataset, runtime: Runtime) -> tuple[float, float, int]:
    """Seconds of a step and of scoring a token, after one of each that warms up; and the parameters."""
    train = config.train
    model = GPTLanguageModel(config.gpt(tokenizer.vocab_size)).to(runtime.device, runtime.dtype)
    initialise(model, config.init or default_name("gpt", config.preset), seed=train.seed, ids=data.ids("train"))
    optimizer = registry.resolve("optimizers", train.optimizer)(model, train)
    x, y = data.get_batch("train", 0, batch_size=train.batch_size, block_size=train.block_size, seed=train.seed)
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

    score_seconds = statistics.median(_timed(score, runtime) for _ in range(2))
    step_seconds = statistics.median([_timed(step, runtime) for _ in range(1 + PROBE_STEPS)][1:])
    return step_seconds, score_seconds / x.numel(), model.num_parameters()


def _timed(action: Callable[[], None], runtime: Runtime) -> float:
    runtime.synchronize()
    begun = time.perf_counter()
    action()
    runtime.synchronize()
    return time.perf_counter() - begun


def _words(best: Candidate, budget: Budget, data: TokenDataset, runtime: Runtime) -> str:
    """One paragraph: what was chosen, why, and what it should reach."""
    train, shape = best.config.train, best.config.architecture
    tokens = train.batch_size * train.block_size
    epochs = train.max_iters * tokens / len(data.ids("train"))
    dropout = f", dropout {train.dropout:g}" if train.dropout else ""
    return (
        f"plan for {duration(budget.seconds)} on {runtime.device_name} ({runtime.precision}): {shape.n_layer} layers, "
        f"{shape.n_head} heads, width {shape.n_embd}, context {train.block_size}, {train.max_iters:,} steps of "
        f"{tokens:,} tokens ({best.step_seconds * 1e3:.0f} ms each), {epochs:.1f} epochs{dropout}; judging and the "
        f"mixture need {duration(budget.reserve)}. Expected on validation, nats per token: about "
        f"{best.expected.gpt:.2f} for the GPT, {best.expected.mixture:.2f} for the mixture"
    )
