"""Going on with a run: what must fit, how its end may be moved, and which events are taken back."""

import json
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.files import write_atomic
from clearhead.runs.agreement import check_model
from clearhead.runs.checkpoint import Checkpoint, load_mixture
from clearhead.runs.directory import RunDirectory
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.progress import Progress


def check_fits(checkpoint: Checkpoint, config: RunConfig, tokenizer: Tokenizer, run: RunDirectory) -> None:
    """CheckpointError where a checkpoint is not of this configuration and vocabulary, or has nothing to go on with."""
    check_model(run, checkpoint, config, tokenizer)
    if not checkpoint.optimizer and (checkpoint.step or "imported" in checkpoint.state):
        raise CheckpointError(
            f"checkpoint {checkpoint.step} of run {run.name} has no optimizer state to go on with; "
            f"to train its weights: clearhead train --init_from {run.path}"
        )


def is_complete(run: RunDirectory, config: RunConfig, checkpoint: Checkpoint) -> bool:
    """Whether training ended at this checkpoint by itself, with all its events told and its files sealed."""
    last = next(reversed(run.read_events()), {})
    ended = last.get("event") == "finished" and last.get("reason") in ("done", "patience")
    sealed = run.events_file.name in run.read_manifest()
    return ended and sealed and last.get("step") == checkpoint.step and (config.model != "mixture" or _is_mixed(run))


def _is_mixed(run: RunDirectory) -> bool:
    """Whether the run's mixture is there and whole."""
    with suppress(CheckpointError):
        return load_mixture(run) is not None
    return False


def first_plan(run: RunDirectory, config: RunConfig) -> int | None:
    """How many steps a run was to have when it began, where it has another number by now."""
    begun = next((event["max_iters"] for event in run.read_events() if event["event"] == "started"), None)
    return None if begun == config.train.max_iters else begun


def extend(config: RunConfig, checkpoint: Checkpoint, max_iters: int) -> tuple[RunConfig, str]:
    """The configuration of a run that ends at another step, and a line about it; ConfigError where that lies behind.

    The rate begins again at its peak and falls over the steps that are left: a run that falls twice is not the run
    that `max_iters` steps from the start would have been. Where dev has begun to be learned from, that goes on.
    """
    step, train = checkpoint.step, config.train
    if max_iters <= step:
        raise ConfigError(f"max_iters={max_iters} is not beyond step {step}, where the run stands; give a larger one")
    dev_began = train.max_iters - train.dev_iters
    dev_iters = max_iters - dev_began if step > dev_began else round(train.dev_iters * max_iters / train.max_iters)
    extended = replace(train, max_iters=max_iters, decay_iters=max_iters - step, dev_iters=dev_iters)
    return replace(config, train=extended), (
        f"{max_iters:,} steps instead of {train.max_iters:,}: the rate begins again at its peak and falls to the end, "
        "so this is not the run that as many steps from the start would have been"
    )


def told_of_ranks(progress: Progress, size: int) -> list[str]:
    """A line where another number of processes goes on with a run."""
    if not progress.step or progress.ranks == size:
        return []
    return [
        f"{size} processes train instead of {progress.ranks}: the batches stay the same, but sums are taken in another "
        "order and dropout draws other masks, so the last bits are not those of a run that kept its number"
    ]


def rewind(run: RunDirectory, progress: Progress) -> None:
    """Let a run's folder tell what it told when a checkpoint was taken: events up to it, and the best of then."""
    for pointer, step in (("best", progress.best_step), ("latest", progress.step)):
        if step is not None and run.checkpoint(step).exists():
            run.point(pointer, step)
        elif run.pointer(pointer) is not None:
            run.unpoint(pointer)
    kept = takewhile(lambda event: _happened(event, progress), run.read_events())
    write_atomic(run.events_file, "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept))


def _happened(event: dict[str, Any], progress: Progress) -> bool:
    """Whether an event came before the checkpoint was taken, in a run that nobody interrupts."""
    match event["event"]:
        case "finished" | "failed":
            return False
        case "evaluated" | "certified" | "sampled":
            return event["step"] <= progress.evaluated_at
        case "saved":
            return event["step"] < (progress.step + 1 if progress.untold is None else progress.untold)
        case _:
            return event["step"] <= progress.step
