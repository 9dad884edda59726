"""Several ranks of one run, each a forked process, and what of a run must be the same."""

import json
import socket
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from clearhead.files import sha256_file
from clearhead.runs.checkpoint import MODEL, OPTIMIZER, STATE
from clearhead.runs.directory import RunDirectory
from clearhead.runs.records import read_json
from clearhead.runs.sharded import is_shard
from conftest import POEM
from faults.forked import Ended, Forker

FLAGS: dict[str, object] = {
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 6,
    "warmup_iters": 2,
    "accumulation": 2,
    "max_iters": 12,
    "eval_interval": 5,
    "eval_iters": 2,
    "save_interval": 4,
    "dev_iters": 3,
    "device": "cpu",
}
"""Small: four ranks take one or two of the six samples; at the end half of the batch is from dev."""
CLOCKS = ("seconds", "run")
HANGS = 100.0
"""Seconds after which a rank is said to hang; a run takes two where nothing else runs."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Team:
    """Runs of one text in one folder, each trained by some ranks."""

    def __init__(self, folder: Path) -> None:
        self.out, self.text, here = folder / "runs", folder / "poem.txt", Path(__file__).parent
        self.text.write_text(POEM * 29, encoding="utf-8")
        path = f"{here}:{here.parents[1] / 'src'}"
        self.forker = Forker(folder / "told", {"CLEARHEAD_CACHE": str(folder / "cache"), "PYTHONPATH": path})

    def words(self, name: str, **flags: object) -> list[str]:
        """The words that begin a run."""
        settings = [str(word) for flag, value in {**FLAGS, **flags}.items() for word in (f"--{flag}", value)]
        return ["train", str(self.text), "--out", str(self.out), "--name", name, *settings]

    def run(self, size: int, words: Sequence[str], **harm: Any) -> list[Ended]:
        """A command in so many ranks (1: as one does without torchrun), and what became of each."""
        if size == 1:
            return [self.forker.run(words, "hooks:short_samples")]
        port = free_port()
        ranks = [self.forker.start(words, "ranking:rank", rank=k, size=size, port=port, **harm) for k in range(size)]
        return [rank.end(HANGS) for rank in ranks]

    def train(self, size: int, name: str, **flags: object) -> RunDirectory:
        """A run from its beginning to its end."""
        for ended in self.run(size, self.words(name, **flags)):
            assert ended.code == 0, ended.told
        return self.directory(name)

    def directory(self, name: str) -> RunDirectory:
        """A run by its name."""
        return RunDirectory(self.out / name)

    def __enter__(self) -> "Team":
        self.forker.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.forker.__exit__(*error)


def told(run: RunDirectory, *but: str) -> list[dict[str, Any]]:
    """A run's events without clocks, and without notices that have one of the words `but`."""
    return [
        {key: value for key, value in event.items() if key not in CLOCKS}
        for event in run.read_events()
        if not any(word in event.get("message", "") for word in but)
    ]


def bits(run: RunDirectory, *but: str) -> dict[str, Any]:
    """All of a finished run that has to be the same: weights, moments, numbers, events."""
    folders = [run.checkpoint(step) for step in run.steps()]
    found: dict[str, Any] = {}
    for folder in folders:
        shards = sorted(file for file in folder.iterdir() if is_shard(file.name))
        found |= {f"{folder.name}/{file.name}": tensors(file) for file in shards}
        found |= {f"{folder.name}/{name}": sha256_file(folder / name) for name in (MODEL, OPTIMIZER) if not shards}
    for folder in folders:
        state = read_json(folder / STATE)
        found[folder.name] = {**state, "trainer": {k: v for k, v in state["trainer"].items() if k not in CLOCKS}}
    return {**found, "told": told(run, *but)}


def tensors(file: Path) -> dict[str, str]:
    """What a file of tensors holds, by name: of several lines in its header, PyTorch's writer leaves the order open."""
    return {name: sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in load_file(file).items()}


def figures(run: RunDirectory) -> list[tuple[str, float]]:
    """Every loss and gradient norm that a run has told, in order."""
    names = ("loss", "grad_norm", "train", "val", "dev")
    return [
        (f"{event['event']} {event['step']} {name}", event[name])
        for event in run.read_events()
        for name in names
        if event.get(name) is not None
    ]


def witnesses(folder: Path, size: int) -> dict[int, list[dict[str, Any]]]:
    """What the ranks have written by step, in the order of the ranks."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for file in folder.glob(f"*-{size}-*.json"):
        step, _, rank = map(int, file.stem.split("-"))
        found.setdefault(step, {})[rank] = json.loads(file.read_text())
    return {step: [ranks[k] for k in sorted(ranks)] for step, ranks in sorted(found.items())}
