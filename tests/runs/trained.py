"""A finished run of each kind, trained once; tests damage copies of it."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import clearhead
from clearhead.runs.directory import RunDirectory
from conftest import POEM

SMALL = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4, "eval_iters": 2, "device": "cpu"}
STEPS = {"max_iters": 30, "eval_interval": 10, "save_interval": 10}


@cache
def _home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="clearhead-trained-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "poem.txt").write_text(POEM * 29, encoding="utf-8")
    return home


@cache
def _trained(model: str) -> Path:
    settings = {} if model == "ngram" else {**SMALL, **STEPS}
    return clearhead.train(_home() / "poem.txt", model=model, out=_home(), name=model, progress=False, **settings).path


def copy_of(model: str, out: Path) -> RunDirectory:
    """A finished run of a model in `out`: its last checkpoints, best, events, TensorBoard's files where it is."""
    return RunDirectory(Path(shutil.copytree(_trained(model), out / model)))
