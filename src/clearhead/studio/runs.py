"""What can be done to runs from the page: begin, pause, resume, stop, rename, delete."""

from collections.abc import Iterator, Mapping
from typing import Any

from clearhead import registry
from clearhead.config import RunConfig
from clearhead.errors import ConfigError
from clearhead.files import check_name, file_name, remove_folder, storing
from clearhead.runs.directory import RunDirectory
from clearhead.runs.lock import RunLock
from clearhead.serving.errors import ApiError
from clearhead.studio.studio import Studio
from clearhead.training.budget import choose_budget


def begin(studio: Studio, asked: Mapping[str, Any]) -> str:
    """Begin to train on a text; the run's name. Settings are checked here, the rest the command says itself."""
    text = studio.texts.find(asked["text"])
    model, preset = asked["model"] or RunConfig.model, asked["preset"] or RunConfig.preset
    settings = asked["settings"] or {}
    registry.check("models", model)
    config = RunConfig.from_preset(preset, model).with_settings(settings)
    time = None if asked["time"] is None else f"{asked['time']:g}s"
    choose_budget(time, settings, config, 0.0)
    name = _free(studio, asked["name"], f"{file_name(text.name)}-{model}")
    words = ["train", text.word, "--out", str(studio.out), "--name", name, "--model", model]
    words += ["--preset", preset] if asked["preset"] else []
    words += ["--time", time] if time else []
    studio.jobs.begin(name, [*words, *_flags(settings)], model, text.name)
    return name


def _free(studio: Studio, asked: str | None, otherwise: str) -> str:
    """The name that was asked for, which must be free, or one that is."""
    check_name(asked)
    if asked is not None and ((studio.out / asked).exists() or asked in studio.jobs):
        raise ConfigError(f"there is a run {asked} already; choose another name")
    name, number = asked or otherwise, 1
    while (studio.out / name).exists() or name in studio.jobs:
        number += 1
        name = f"{asked or otherwise}-{number}"
    return name


def _flags(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        elif value is not None:
            yield f"--{name}={value}"


def pause(studio: Studio, name: str) -> None:
    """Save and end; `resume` goes on."""
    _end(studio, name, for_good=False)


def stop(studio: Studio, name: str) -> None:
    """Save and end for good."""
    _end(studio, name, for_good=True)


def _end(studio: Studio, name: str, *, for_good: bool) -> None:
    row = studio.board.row(name)
    ended = row["state"] not in ("starting", "training")
    if ended and not (for_good and row["state"] == "paused"):
        raise ApiError(409, f"run {name} is not being trained: it is {row['state']}", param="run", code="not_training")
    run = RunDirectory(studio.out / name)
    studio.jobs.end(run, for_good=for_good or not run.path.exists())


def resume(studio: Studio, name: str, max_iters: int | None) -> None:
    """Go on with a run where its last checkpoint stands; with `max_iters` to that step."""
    run = studio.board.run(name)
    _refuse_while_training(studio, name, "wait for it")
    words = ["resume", str(run.path)] + ([] if max_iters is None else ["--max_iters", str(max_iters)])
    row = studio.board.row(name)
    studio.jobs.begin(name, words, row["model"], row["corpus"])


def rename(studio: Studio, name: str, new: str) -> None:
    """Give a run's folder another name."""
    check_name(new)
    run = studio.board.run(name)
    _refuse_while_training(studio, name, "pause it first")
    if (studio.out / new).exists() or new in studio.jobs:
        raise ConfigError(f"there is a run {new} already; choose another name")
    with storing(studio.out / new):
        run.path.rename(studio.out / new)
    studio.jobs.rename(name, new)


def delete(studio: Studio, name: str, confirm: str) -> None:
    """Delete a run, or the record of one that never was; `confirm` repeats its name."""
    if confirm != name:
        raise ApiError(400, f"confirm={confirm!r:.80} is not the name of the run; write {name}", param="confirm")
    _refuse_while_training(studio, name, "stop it first")
    if (studio.out / name).exists():
        run = studio.board.run(name)
        RunLock(run.lock_file).release()  # whoever has begun to train it meanwhile is heard
        remove_folder(run.path)
    studio.jobs.forget(name)


def _refuse_while_training(studio: Studio, name: str, advice: str) -> None:
    state = studio.board.row(name)["state"]
    if state in ("starting", "training") or not studio.jobs.over(name):
        raise ApiError(409, f"run {name} is being trained; {advice}", param="run", code="training")


def delete_text(studio: Studio, name: str) -> None:
    """Take a text from the list; ApiError (409) where a run still needs it for its ladder and its views."""
    text = studio.texts.find(name)
    needed = (
        [run for run, corpus in studio.board.texts().items() if text.word in corpus] if text.kind == "uploaded" else []
    )
    if needed:
        runs = ", ".join(needed[:3])
        raise ApiError(409, f"{text.name} is the text of {runs}; delete what was trained on it first", code="in_use")
    studio.texts.delete(name)
