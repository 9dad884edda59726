"""From a time budget to explicit numbers: measure this machine, weigh sizes, choose one."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearhead.config import RunConfig
from clearhead.data.tokens import TokenDataset
from clearhead.evaluation.ladder import Rung, losses_by_rung, score_split
from clearhead.runtime import Runtime
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.budget import Budget
from clearhead.training.console import duration
from clearhead.training.expectation import Expectation, dropout_for, expect
from clearhead.training.pace import measure_pace

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
FAR_WORSE = 0.1
"""Nats: a busy moment while a size is measured must not end the search."""
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
HEAD_SIZE = 32
"""Of the sizes that were measured at width 128, 16, 32 and 64, the middle one did best."""
SCORED_TIMES, MIXING, END = 2.0, 2.0, 1.0
"""After the last step: how often validation and dev pass through the GPT, how often all is counted, other seconds."""


@dataclass(frozen=True)
class Plan:
    """What the planner chose, in numbers and in words."""

    config: RunConfig
    budget: Budget
    words: str


@dataclass(frozen=True)
class Candidate:
    """A configuration that fits the budget, with what a step costs and what the run should reach."""

    config: RunConfig
    step_seconds: float
    reserve: float
    expected: Expectation


@dataclass(frozen=True)
class Planner:
    """Plans a run. What is in `fixed` stays as `config` has it."""

    config: RunConfig
    fixed: Collection[str]
    data: TokenDataset
    tokenizer: Tokenizer
    rungs: Sequence[Rung]
    budget: Budget
    runtime: Runtime

    def plan(self) -> Plan:
        """The configuration that should reach the lowest loss in what is left of the budget.

        Every size is tried for a few steps, from the cheapest on, until one promises far less than another or
        measuring has used its share of the time.
        """
        best: Candidate | None = None
        deadline = time.perf_counter() + PROBE_SHARE * self.budget.seconds
        for shape in SHAPES:
            candidate = self._weigh(self._shaped(shape))
            if best is None or candidate.expected.gpt < best.expected.gpt:
                best = candidate
            elif candidate.expected.gpt > best.expected.gpt + FAR_WORSE:
                break
            if time.perf_counter() > deadline or {"n_layer", "n_embd"} <= set(self.fixed):
                break
        assert best is not None
        budget = replace(self.budget, reserve=best.reserve)
        if "max_iters" not in self.fixed:
            budget = replace(budget, replan_at=math.ceil(FIRST_STRETCH * best.config.train.max_iters))
        return Plan(best.config, budget, self._words(best))

    def _with(self, config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
        return config.with_settings({name: value for name, value in settings.items() if name not in self.fixed})

    def _shaped(self, shape: Mapping[str, int]) -> RunConfig:
        """The configuration in one of the `SHAPES`, its context no longer than the text can fill."""
        given = {name: getattr(self.config.architecture, name) for name in ("n_embd", "n_head") if name in self.fixed}
        width, heads = (given.get(name, shape[name]) for name in ("n_embd", "n_head"))
        if width % heads or width // heads % 2:  # fit what was not given to what was
            if "n_head" not in given:
                heads = _heads(width)
            elif "n_embd" not in given:
                width = 2 * heads * math.ceil(width / (2 * heads))
        train = self.config.train
        block_size = train.block_size if "block_size" in self.fixed else self.data.fits(shape["block_size"])
        tokens = TOKENS_PER_STEP.get(self.runtime.device.type, TOKENS_PER_STEP["cpu"])
        settings = {"block_size": block_size, "batch_size": max(1, tokens // block_size)}
        return self._with(self.config, {**shape, "n_embd": width, "n_head": heads, **settings})

    def _weigh(self, config: RunConfig) -> Candidate:
        """Measure a configuration, count off how many steps it can make, and choose its dropout by that."""
        once = len(self.data.ids("train"))
        counting = sum(rung.fit_seconds or 0.0 for rung in self.rungs)
        scored = len(self.data.ids(score_split(self.data))) + len(self.data.ids("dev"))
        while True:
            pace = measure_pace(config, self.data, self.tokenizer, self.runtime)
            reserve = SCORED_TIMES * pace.token_seconds * scored + MIXING * counting + END
            left = replace(self.budget, reserve=reserve).left()
            steps = (
                config.train.max_iters if "max_iters" in self.fixed else max(LEAST_STEPS, int(left / pace.step_seconds))
            )
            tokens = steps * config.train.batch_size * config.train.block_size
            dropout = config.train.dropout if "dropout" in self.fixed else dropout_for(tokens / once)
            if dropout <= config.train.dropout:
                break
            config = config.with_settings({"dropout": dropout})  # it costs time: measure again
        expected = expect(pace.parameters, tokens, once, losses_by_rung(self.rungs), self._characters_per_token)
        return Candidate(self._with(config, self._pace(steps)), pace.step_seconds, reserve, expected)

    @property
    def _characters_per_token(self) -> float:
        """Of the text that judges; a tokenizer of characters has separators too, which are none."""
        split = score_split(self.data)
        return max(1.0, self.data.meta.characters[split] / max(1, len(self.data.ids(split))))

    def _pace(self, steps: int) -> dict[str, int]:
        """What follows from the number of steps, and from how long they take."""
        evaluations = min(MOST_EVALUATIONS, max(3, round(self.budget.seconds / SECONDS_PER_EVALUATION)))
        batches = max(2, round(self.budget.seconds / SECONDS_PER_BATCH))
        return {
            "max_iters": steps,
            "dev_iters": round(DEV_STRETCH * steps),
            "decay_iters": max(1, steps - math.ceil(FIRST_STRETCH * steps)),
            "warmup_iters": min(self.config.train.warmup_iters, max(1, steps // 20)),
            "eval_interval": math.ceil(steps / evaluations),
            "eval_iters": min(self.config.train.eval_iters, batches),
            "save_interval": math.ceil(steps / evaluations),
        }

    def _words(self, best: Candidate) -> str:
        """One paragraph: what was chosen, and what it should reach."""
        train, shape = best.config.train, best.config.architecture
        tokens = train.batch_size * train.block_size
        epochs = train.max_iters * tokens / len(self.data.ids("train"))
        dropout = f", dropout {train.dropout:g}" if train.dropout else ""
        return (
            f"plan for {duration(self.budget.seconds)} on {self.runtime.device_name} ({self.runtime.precision}): "
            f"{shape.n_layer} layers, {shape.n_head} heads, width {shape.n_embd}, context {train.block_size}, "
            f"{train.max_iters:,} steps of {tokens:,} tokens ({best.step_seconds * 1e3:.0f} ms each), {epochs:.1f} "
            f"epochs{dropout}; judging and the mixture need {duration(best.reserve)}. Expected on validation, nats per "
            f"token: about {best.expected.gpt:.2f} for the GPT, {best.expected.mixture:.2f} for the mixture"
        )


def _heads(width: int) -> int:
    """Heads of an even size, about `HEAD_SIZE` wide each, that a width can be divided among; 1 where none can."""
    fitting = [n for n in range(1, width + 1) if width % n == 0 and width // n % 2 == 0]
    return min(fitting, key=lambda n: abs(width / n - HEAD_SIZE), default=1)
