"""Going on with a run: what must fit, how its end may be moved, and which events are taken back."""

import json
from dataclasses import asdict, replace
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ConfigError
from clearhead.files import write_atomic
from clearhead.runs.checkpoint import Checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.tokenizers.base import Tokenizer
from clearhead.training.progress import Progress


def check_fits(checkpoint: Checkpoint, config: RunConfig, tokenizer: Tokenizer, run: RunDirectory) -> None:
    """CheckpointError, naming the first difference, where a checkpoint is not of this configuration and vocabulary."""
    expected: dict[str, Any] = {"vocab_size": tokenizer.vocab_size}
    if config.trained == "gpt":
        expected = asdict(config.gpt(tokenizer.vocab_size))
    kind, found = checkpoint.model.kind, checkpoint.model.to_config()
    if kind != config.trained:
        raise CheckpointError(_differs(run, checkpoint, f"is a {kind}", f"a {config.trained}"))
    for name, value in expected.items():
        if name in found and found[name] != value:
            raise CheckpointError(_differs(run, checkpoint, f"has {name}={found[name]}", f"{name}={value}"))
    if checkpoint.step and not checkpoint.optimizer:
        raise CheckpointError(
            f"checkpoint {checkpoint.step} of run {run.name} has no optimizer state to go on with; "
            f"to train its weights: clearhead train --init_from {run.path}"
        )


def _differs(run: RunDirectory, checkpoint: Checkpoint, found: str, wanted: str) -> str:
    return (
        f"checkpoint {checkpoint.step} {found}, but run {run.name} is {wanted}: it belongs to another run; "
        f"delete {run.checkpoint(checkpoint.step)} or restore it from a copy"
    )


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
    checkpoint.state["evaluations_without_gain"] = 0
    return replace(config, train=extended), (
        f"{max_iters:,} steps instead of {train.max_iters:,}: the rate begins again at its peak and falls to the end, "
        "so this is not the run that as many steps from the start would have been"
    )


def rewind(run: RunDirectory, progress: Progress) -> None:
    """Let a run's folder tell what it told when a checkpoint was taken: events up to it, and the best of then."""
    if progress.best_step is not None:
        run.point("best", progress.best_step)
    elif run.pointer("best") is not None:
        run.unpoint("best")
    run.point("latest", progress.step)
    kept = [json.dumps(event, ensure_ascii=False) + "\n" for event in run.read_events() if _happened(event, progress)]
    write_atomic(run.events_file, "".join(kept))


def _happened(event: dict[str, Any], progress: Progress) -> bool:
    """Whether an event came before the checkpoint was taken, in a run that nobody interrupts."""
    match event["event"]:
        case "finished" | "failed":
            return False
        case "evaluated" | "sampled":
            return event["step"] <= progress.evaluated_at
        case "saved":
            return event["step"] < (progress.step + 1 if progress.untold is None else progress.untold)
        case _:
            return event["step"] <= progress.step
