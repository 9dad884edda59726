"""Runs to break, what a refusal looks like, and an attacker's way to make hashes agree again."""

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from clearhead.cli.main import main
from clearhead.runs.directory import RunDirectory

TEXT = (
    "The kettle sang before the day began,\nand steam went up the window like a plan.\n"
    "Who drinks the tea? The cat, she said, who can.\nNobody laughed but the old frying pan.\n\n"
)
"""Words of our own; 40 times over there are dev and validation splits."""
TINY = (
    *("--n_embd", "16", "--n_head", "2", "--n_layer", "1", "--block_size", "16", "--batch_size", "4"),
    *("--eval_iters", "1", "--eval_interval", "2", "--save_interval", "2", "--max_iters", "4", "--device", "cpu"),
)


class Said(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


def call(*words: object) -> Said:
    """Run a command in this process. What it raises beyond the end of the process is a fault and passes through."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def refusal(said: Said) -> str:
    """The one line of a command that was refused: it has a next step. Notes of what was passed over may precede it."""
    assert said.code == 2, said
    (line,) = [line for line in said.err.split("\n")[:-1] if not line.startswith("note: ")]
    assert line.startswith("clearhead: "), said
    assert any(mark in line for mark in ("; ", "?", ": choose one of")), f"no next step: {line}"
    return line


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder with its bytes; the lock of a run, which a refused resume may leave, apart."""
    found = {}
    for path in folder.rglob("*"):
        if path.name != ".lock":
            found[path.relative_to(folder).as_posix()] = path.read_bytes() if path.is_file() else None
    return found


def make_run(folder: Path, *flags: str) -> RunDirectory:
    """A small finished run with two checkpoints, its text beside it."""
    text = folder / "text.txt"
    text.write_text(TEXT * 40, encoding="utf-8")
    said = call("train", text, "--out", folder, "--name", "run", *TINY, *flags)
    assert said.code == 0, said
    return RunDirectory(folder / "run")


@contextlib.contextmanager
def cache_of_tests(factory: pytest.TempPathFactory):
    """The cache that every test has, for fixtures that live longer than one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(factory.getbasetemp() / "cache"))
        yield


def copy_of(run: RunDirectory, folder: Path) -> RunDirectory:
    """The same run elsewhere, to be broken."""
    shutil.copytree(run.path, folder / "run")
    return RunDirectory(folder / "run")


def cut_short(run: RunDirectory) -> None:
    """Leave a run as a crash after its first save left it: there is something to resume."""
    first, *later = run.steps()
    run.unseal()
    for folder in (*map(run.checkpoint, later), run.mixture):
        shutil.rmtree(folder, ignore_errors=True)
    for which in ("best", "latest"):
        run.point(which, first)


def reseal(run: RunDirectory) -> None:
    """Make every hash agree with what lies there, as somebody who means harm would."""
    _rehash(run.manifest_file)
    for manifest in run.checkpoints.glob("*/manifest.json"):
        _rehash(manifest)


def _rehash(manifest: Path) -> None:
    try:
        digests = json.loads(manifest.read_bytes())
    except (ValueError, RecursionError):
        return  # the manifest itself is what was broken
    if isinstance(digests, dict):
        there = {name: manifest.parent / name for name in digests}
        known = {name: sha256(file) for name, file in there.items() if file.is_file()}
        manifest.write_text(json.dumps({**digests, **known}, indent=1) + "\n", encoding="utf-8")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
