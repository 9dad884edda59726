"""The runs that tell what an ingredient is worth: which ones there are, one of them, and what a step costs."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from machine import facts
from recipe_results import BASE, Result, Speed, append, difference, flat, key_of, read

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.errors import ConfigError, DivergenceError
from clearhead.evaluation.loss import split_loss
from clearhead.initialise import default_name
from clearhead.runs.checkpoint import final_checkpoint
from clearhead.training.events import Evaluated, Stepped
from clearhead.training.job import Job, new_job
from clearhead.training.trainer import Trainer

OF_ALL = {"eval_interval": 1_000_000, "save_interval": 1_000_000, "eval_iters": 10, "device": "cpu"}
"""Settings of every run: only its start and its end are evaluated, only its end is saved."""
BLOCKS, BLOCK_STEPS = 20, 5
"""Of a measurement of speed: pairs of blocks, and steps in a block."""


@dataclass(frozen=True)
class Planned:
    """A run to be made."""

    variant: str
    argument: str
    """The corpus as it is named."""
    corpus: str
    """As it calls itself: python-docs tells the version of Python."""
    sha256: str
    train_tokens: int
    base: RunConfig
    config: RunConfig

    @property
    def key(self) -> str:
        return key_of(self.config, self.sha256)

    def facts(self) -> dict[str, Any]:
        """What a line says of where it comes from."""
        return {
            "variant": self.variant,
            "base": flat(self.base),
            "settings": difference(self.config, self.base),
            "date": date.today().isoformat(),
            "machine": {**facts(), "threads": torch.get_num_threads()},
        }


def use_threads(count: int | None) -> None:
    """Let torch compute with this many threads (None: its own choice)."""
    if count is not None:
        torch.set_num_threads(count)


def plan(
    variants: Mapping[str, Mapping[str, Any]],
    corpora: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    steps: int,
) -> list[Planned]:
    """All runs, seed by seed, the recipe before its variants; ConfigError where a variant does not compare."""
    prepared = {name: prepare(RunConfig().with_settings(own), [name]) for name, own in corpora.items()}
    planned = []
    for seed in seeds:
        for argument, text in prepared.items():
            fixed = {**OF_ALL, "max_iters": steps, "seed": seed, **corpora[argument]}
            base = varied({"preset": RunConfig().preset}, fixed)
            for variant, change in variants.items():
                config = comparable(variant, varied(change, fixed, base), base, change)
                about = (text.corpus.name, text.corpus.sha256, len(text.data.ids("train")))
                planned.append(Planned(variant, argument, *about, base, config))
    return planned


def varied(change: Mapping[str, Any], fixed: Mapping[str, Any], base: RunConfig | None = None) -> RunConfig:
    """The recipe with a change, or another preset's recipe; the initialisation named, what is fixed the same."""
    start = RunConfig.from_preset(change["preset"]).with_settings(fixed) if "preset" in change else base or RunConfig()
    config = RunConfig().with_settings({**flat(start), **change})  # so that 0 is 0.0 where it should, as when read
    return replace(config, init=config.init or default_name(config.trained, config.preset))


def comparable(variant: str, config: RunConfig, base: RunConfig, change: Mapping[str, Any]) -> RunConfig:
    """The variant with the steps that make it see as many tokens as the recipe sees.

    ConfigError when it changes the text, the tokens or the model: its loss would mean something else.
    """
    if (config.data, config.tokenizer, config.model) != (base.data, base.tokenizer, base.model):
        raise ConfigError(
            f"variant '{variant}' changes the text, its tokens or the model, so losses do not compare; "
            "change settings of the recipe only"
        )
    if "max_iters" in change:
        return config
    steps = max(1, round(base.train.max_iters * tokens_per_step(base) / tokens_per_step(config)))
    return replace(config, train=replace(config.train, max_iters=steps))


def tokens_per_step(config: RunConfig) -> int:
    return config.train.batch_size * config.train.block_size


def measure_missing(planned: Sequence[Planned], results: Path) -> Iterator[str]:
    """Make the runs that are not among the results, and say a line for each."""
    there = measured_keys(results)
    for number, run in enumerate(planned, start=1):
        if run.key in there or run.key in (there := measured_keys(results)):  # another process may share the work
            continue
        result = measure(run)
        append(results, result)
        loss = "diverged" if result.dev is None else f"dev {result.dev:.4f}, val {result.val:.4f}"
        seed = run.config.train.seed
        yield f"{number}/{len(planned)} {run.variant}, {run.corpus}, seed {seed}: {loss}, {result.seconds:.0f} s"


def measured_keys(results: Path) -> set[str]:
    return {line.current_key for line in read(results) if isinstance(line, Result)}


def overview(planned: Sequence[Planned], results: Path) -> Iterator[str]:
    """A line for each variant: how many of its runs are measured, and what it changes."""
    there = measured_keys(results)
    for variant in dict.fromkeys(run.variant for run in planned):
        runs = [run for run in planned if run.variant == variant]
        changes = difference(runs[0].config, runs[0].base)
        done = sum(run.key in there for run in runs)
        yield f"{variant:<18} {done}/{len(runs)}  " + ", ".join(f"{name}={value}" for name, value in changes.items())


def measure(run: Planned) -> Result:
    """Train in a folder that vanishes; the losses of its best weights, none where training diverged."""
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        job, trainer = prepared_job(run.config, run.argument, Path(folder))
        start = time.perf_counter()
        with suppress(DivergenceError):  # a finding of its own
            losses["train"] = [event.train for event in job.events() if isinstance(event, Evaluated)][-1]
        seconds = time.perf_counter() - start
        if losses:
            losses |= judged(job, trainer)
    return Result(
        **run.facts(),
        key=run.key,
        corpus=run.corpus,
        sha256=run.sha256,
        train_tokens=run.train_tokens,
        seed=run.config.train.seed,
        steps=trainer.progress.step,
        dev=losses.get("dev"),
        val=losses.get("val"),
        train=losses.get("train"),
        seconds=round(seconds, 2),
    )


def judged(job: Job, trainer: Trainer) -> dict[str, float]:
    """Nats per token of the best weights by dev, over the full dev and validation splits."""
    model = final_checkpoint(job.run).model.to(trainer.runtime.device, trainer.runtime.dtype)
    return {s: split_loss(model, trainer.data, s, trainer.runtime).nats_per_token for s in ("dev", "val")}


def prepared_job(config: RunConfig, corpus: str, folder: Path) -> tuple[Job, Trainer]:
    """A job and its trainer, before the first step."""
    job = new_job(config, [corpus], out=folder)
    assert job.trainer is not None, "the model of a recipe is trained"
    return job, job.trainer


def measure_speeds(planned: Sequence[Planned], results: Path) -> Iterator[str]:
    """Measure what each variant's step costs, once, on the first text planned, and say a line for each."""
    for run in planned:
        if run.variant != BASE and run.argument == planned[0].argument and run.base == planned[0].base:
            speed = measure_speed(run)
            append(results, speed)
            yield f"{run.variant}: {speed.ratio:.3f} of the recipe's time ({speed.low:.3f} .. {speed.high:.3f})"


def measure_speed(run: Planned, blocks: int = BLOCKS, steps: int = BLOCK_STEPS) -> Speed:
    """Seconds for the same tokens, the variant's over the recipe's. Blocks alternate (A B, B A, ...), and a block's
    median step counts, so that a machine that warms up or is shared slows both."""
    with tempfile.TemporaryDirectory() as folder:
        sides = {}
        for side, config in (("base", run.base), ("variant", run.config)):
            job, sides[side] = prepared_job(config, run.argument, Path(folder))
            next(event for event in job.events() if isinstance(event, Stepped))
        ratios = []
        for block in range(blocks):
            order = sorted(sides, reverse=block % 2 == 1)
            seconds = {side: median_step(sides[side], steps) for side in order}
            ratios.append(seconds["variant"] / seconds["base"])
    same_tokens = tokens_per_step(run.base) / tokens_per_step(run.config)
    low, middle, high = (round(ratio * same_tokens, 4) for ratio in statistics.quantiles(ratios, n=4))
    return Speed(**run.facts(), ratio=middle, low=low, high=high)


def median_step(trainer: Trainer, steps: int) -> float:
    """Median seconds of some steps."""
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        trainer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
