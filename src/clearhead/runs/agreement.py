"""Do the records of a run agree? What each file says, read as the file it should be, and held against the others."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clearhead.config import RunConfig
from clearhead.errors import CheckpointError, ClearheadError, CorpusError
from clearhead.runs.checkpoint import STATE, Checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import read_json
from clearhead.tokenizers.base import Tokenizer


def check_records(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of the files that never change, as what they should say."""
    readers = {
        run.config_file: run.read_config,
        run.tokenizer_file: run.read_tokenizer,
        run.corpus_file: lambda: _check_corpus(run.read_corpus()),
        run.environment_file: lambda: read_json(run.environment_file),
    }
    for file, read in readers.items():
        if file.is_file():
            try:
                read()
            except ClearheadError as error:
                yield file.name, f"does not say what it should: {_words(error)}"


def _check_corpus(record: dict[str, Any]) -> None:
    """CorpusError unless a record has what finding a text again, and telling a change in it, goes by."""
    counted = [record.get(part) for part in ("documents", "characters")]
    counts = [part.get(split) if isinstance(part, dict) else None for part in counted for split in ("train", "val")]
    paths, texts = record.get("paths"), [record.get(name) for name in ("name", "sha256", "val_sha256")]
    if not isinstance(paths, list) or not all(isinstance(text, str) for text in (*paths, *texts)):
        raise CorpusError("it names no text")
    if not all(type(count) is int for count in counts):
        raise CorpusError("it counts no text")


def check_events(path: Path) -> tuple[list[str], bool]:
    """What is wrong with an event file (its first fault), and whether it ends within a line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return [], True
            try:
                event = json.loads(line)
                fits = isinstance(event["event"], str) and type(event["step"]) is int
            except (ValueError, TypeError, KeyError, RecursionError):
                fits = False
            if not fits:
                return [f"holds no event in line {number:,}"], False
    return [], False


def check_checkpoint(run: RunDirectory, folder: Path) -> list[str]:
    """What in a checkpoint's state.json contradicts its folder, config.toml or the vocabulary."""
    try:
        document = read_json(folder / STATE)
        step, described = document["step"], document["model"]
        kind, settings = described["kind"], dict(described["config"])
    except (ClearheadError, KeyError, TypeError, ValueError):
        return ["describes no model"]
    faults = []
    if type(step) is not int or folder not in (run.mixture, run.checkpoint(step)):
        faults.append(f"says that it is step {step!r}")
    try:
        wanted, expected = _described(run.read_config(), run.read_tokenizer(), mixed=folder == run.mixture)
    except ClearheadError:
        return faults  # said of the file itself
    if kind != wanted:
        return [*faults, f"describes a model {kind!r}, config.toml {wanted!r}"]
    return [*faults, *_differences(settings, expected)]


def check_model(run: RunDirectory, checkpoint: Checkpoint, config: RunConfig, tokenizer: Tokenizer) -> None:
    """CheckpointError, naming the first difference, where the model of a checkpoint is not this run's."""
    model, folder = checkpoint.model, run.checkpoint(checkpoint.step)
    if config.model == model.kind == "mixture":
        folder = run.mixture
    wanted, expected = _described(config, tokenizer, mixed=folder == run.mixture)
    differences = [f"is a {model.kind} where the run has a {wanted}"]
    if model.kind == wanted:
        differences = _differences(model.to_config(), expected)
    if differences:
        raise CheckpointError(
            f"checkpoint {folder} {differences[0]}: it belongs to another run; delete it or restore it from a copy"
        )


def _described(config: RunConfig, tokenizer: Tokenizer, *, mixed: bool) -> tuple[str, dict[str, Any]]:
    """The kind of model that a run's checkpoints hold, and the settings that config.toml and the vocabulary give it."""
    sizes = {"vocab_size": tokenizer.vocab_size}
    counted = {**sizes, "eot_id": tokenizer.eot_id}
    if mixed:
        return "mixture", {"ngram": counted, "gpt": asdict(config.gpt(tokenizer.vocab_size))}
    if config.trained == "gpt":
        return "gpt", asdict(config.gpt(tokenizer.vocab_size))
    return config.trained, counted if config.trained == "ngram" else sizes


def _differences(settings: dict[str, Any], expected: dict[str, Any], where: str = "") -> list[str]:
    """A line for each setting that both name and give another value."""
    lines = []
    for name in sorted(settings.keys() & expected.keys()):
        ours, theirs = settings[name], expected[name]
        if isinstance(ours, dict) and isinstance(theirs, dict):
            lines += _differences(ours, theirs, f"{where}{name}.")
        elif ours != theirs:
            lines.append(f"has {where}{name}={ours!r} where the run has {theirs!r}")
    return lines


def _words(error: ClearheadError) -> str:
    """An error without its advice: restoring a file is advice enough."""
    line = str(error).splitlines()[0]
    return line.rpartition("; ")[0] or line
