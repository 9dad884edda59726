"""Runs of a second or less, and all that must not depend on what happened to them on the way."""

from collections.abc import Callable
from pathlib import Path

from sabotage import TEXT

from clearhead.config import RunConfig
from clearhead.files import sha256_file
from clearhead.runs.checkpoint import MODEL, OPTIMIZER
from clearhead.runs.directory import RunDirectory
from clearhead.training.events import Event
from clearhead.training.job import Job, new_job
from clearhead.training.sinks import EventFile

SMALL = {
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "max_iters": 8,
    "eval_interval": 3,
    "eval_iters": 1,
    "save_interval": 2,
    "warmup_iters": 2,
    "dropout": 0.1,
    "device": "cpu",
}


def tiny_job(folder: Path, name: str = "run", model: str = "gpt", **settings: object) -> Job:
    """A new run on a text of our own, in `folder`."""
    text = folder / "text.txt"
    folder.mkdir(parents=True, exist_ok=True)
    text.write_text(TEXT * 20, encoding="utf-8")
    config = RunConfig.from_preset("modern", model).with_settings({**SMALL, "model": model, **settings})
    return new_job(config, [str(text)], out=folder / "runs", name=name)


def leave_when(job: Job, enough: Callable[[Event], bool]) -> Event | None:
    """Train until an event, then leave as a kill does, but for the lock; the event."""
    told, last = EventFile(job.run.events_file), None
    for event in job.events():
        told.handle(event)
        if enough(event):
            last = event
            break
    told.close()
    job.release()
    return last


def told(run: RunDirectory, *but: str) -> list[dict[str, object]]:
    """The events without clocks and the run's name, and without notices that have one of the words `but`."""
    return [
        {k: v for k, v in event.items() if k not in ("seconds", "run")}
        for event in run.read_events()
        if not any(word in event.get("message", "") for word in but)
    ]


def tensors(run: RunDirectory) -> dict[str, object]:
    """SHA-256 of the last weights and moments, of the best weights and of the mixture; where the pointers point."""
    last, best = run.steps()[-1], run.pointer("best")
    return {
        "last": (last, *(sha256_file(run.checkpoint(last) / name) for name in (MODEL, OPTIMIZER))),
        "latest": run.pointer("latest"),
        "best": (best, None if best is None else sha256_file(run.checkpoint(best) / MODEL)),
        "mixture": sha256_file(run.mixture / MODEL) if run.mixture.exists() else None,
    }


def ending(run: RunDirectory, *but: str) -> dict[str, object]:
    """Tensors, pointers and events together."""
    return {**tensors(run), "told": told(run, *but)}
