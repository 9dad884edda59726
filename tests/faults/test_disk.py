"""A disk that refuses at every k-th request: one line, the newest checkpoint stays whole, a healthy disk goes on."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from failing_disk import FailingDisk, write_in_turn
from sabotage import TEXT, TINY, Said, call

from clearhead.errors import CheckpointError
from clearhead.runs.checkpoint import newest_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from clearhead.training.sinks import TensorBoard

KINDS = {
    "gpt": ("--dropout", "0.1", "--optimizer", "adamw"),
    "mixture": ("--model", "mixture", "--keep", "2", "--max_iters", "8"),
}
WAYS = {
    "full": {"error": errno.ENOSPC},
    "full for a moment": {"error": errno.ENOSPC, "lasting": False},
    "half a write, then broken": {"error": errno.EIO, "half": True},
    "half a write once": {"error": errno.EIO, "half": True, "lasting": False},
    "read-only": {"error": errno.EROFS},
}


class Place:
    """A folder with a text, a cache and runs of its own, and a disk that may refuse."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True)
        self.folder, self.kind, self.run = folder, kind, RunDirectory(folder / "runs" / "run")
        self.text = folder / "text.txt"
        self.text.write_text(TEXT * 20, encoding="utf-8")

    def train(self, refuse: int | None = None, **way: object) -> tuple[Said, list[str]]:
        words = ("train", self.text, "--out", self.folder / "runs", "--name", "run", *TINY, *KINDS[self.kind])
        return self.call(*words, refuse=refuse, **way)

    def resume(self, refuse: int | None = None, **way: object) -> tuple[Said, list[str]]:
        return self.call("resume", self.run.path, "--out", self.folder / "runs", refuse=refuse, **way)

    def call(self, *words: object, refuse: int | None, **way: object) -> tuple[Said, list[str]]:
        """What was said, and what was asked of the disk."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLEARHEAD_CACHE", str(self.folder / "cache"))
            patch.setattr(TensorBoard, "available", staticmethod(lambda: False))
            patch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)  # a sample takes longer than all the rest
            write_in_turn(patch)
            disk = FailingDisk(patch, self.folder, refuse, **way)  # pyright: ignore[reportArgumentType]
            return call(*words), disk.asked

    def leftovers(self) -> list[Path]:
        return [*self.folder.rglob(".*.tmp")]


def ending(run: RunDirectory) -> dict[str, object]:
    """All that must not depend on what happened on the way."""
    tensors = {
        f"{folder.name}/{name}": hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for folder in (*map(run.checkpoint, run.steps()), run.mixture)
        for name in ("model.safetensors", "optimizer.safetensors")
        if folder.exists()
    }
    return {"tensors": tensors, "best": run.pointer("best"), "latest": run.pointer("latest"), "told": told(run)}


def told(run: RunDirectory) -> list[dict[str, object]]:
    """The events, but for clocks."""
    return [{k: v for k, v in event.items() if k != "seconds"} for event in run.read_events()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """By kind: how a run ends on a healthy disk, and how much it asks of the disk."""
    known = {}

    def of(kind: str) -> tuple[dict[str, object], int]:
        if kind not in known:
            place = Place(tmp_path_factory.mktemp("undisturbed") / "place", kind)
            said, asked = place.train()
            assert said.code == 0, said
            known[kind] = ending(place.run), len(asked)
        return known[kind]

    return of


def one_line(said: Said) -> str:
    """What a command that failed by the disk's fault says: the target, the reason, the room, the next step."""
    assert said.code == 1, said
    assert said.err.startswith("clearhead: cannot write "), said
    assert said.err.count("\n") == 1, said
    assert any(os.strerror(code) in said.err for code in (errno.ENOSPC, errno.EIO, errno.EROFS)), said
    assert "MB free there); make room or choose another folder" in said.err
    return said.err


def assert_recovers(place: Place, wanted: dict[str, object]) -> None:
    """A run whose disk is healthy again ends as if nothing had been; where there is none yet, it can be trained."""
    if not place.run.path.exists():
        said, _ = place.train()
    else:
        if place.run.steps():
            checkpoint, passed_over = newest_checkpoint(place.run)
            assert (checkpoint.step, passed_over) == (place.run.steps()[-1], []), "what was saved is whole"
        said, _ = place.resume()
    whole = said.code == 2 and "is complete at step" in said.err  # the very last request was refused
    assert said.code == 0 or (whole and verify_run(place.run).sealed), said
    assert ending(place.run) == wanted
    assert [path for path in place.leftovers() if path.is_relative_to(place.run.path)] == []
    assert verify_run(place.run).faults == ()


def refuse_at(folder: Path, kind: str, way: str, k: int, undisturbed) -> None:
    """Request number k is refused: then one line, and all goes on when the disk is healthy."""
    wanted, requests = undisturbed(kind)
    place = Place(folder / f"{k}", kind)
    said, asked = place.train(refuse=k, **WAYS[way])
    assert len(asked) > requests - 3 or said.code, "an import asks once or twice, in the first process alone"
    if said.code == 0:  # not reached; or another process might have made the folder, and the tokens lie there
        assert ending(place.run) == wanted
        return
    one_line(said)
    if WAYS[way]["error"] == errno.ENOSPC:
        assert place.leftovers() == [], "what was half-written is deleted, for that needs no room"
    assert_recovers(place, wanted)
    shutil.rmtree(place.folder)


@pytest.mark.parametrize(("kind", "way"), [("gpt", "full"), ("mixture", "half a write once")])
def test_a_run_survives_a_disk_that_refuses_now_and_then(tmp_path, kind, way, undisturbed):
    for k in range(40 if kind == "gpt" else 48, undisturbed(kind)[1] + 1, 9):
        refuse_at(tmp_path, kind, way, k, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_survives_a_disk_that_refuses_at_every_request(tmp_path, kind, way, undisturbed):
    for k in range(1, undisturbed(kind)[1] + 1):
        refuse_at(tmp_path, kind, way, k, undisturbed)


def resume_refused_at(folder: Path, way: str, k: int, wanted: dict[str, object]) -> bool:
    """A run whose first resume meets a disk that refuses; false when it asked for less than k."""
    place = Place(folder / f"{way} {k}", "gpt")
    place.train(refuse=103)
    assert place.run.steps()
    said, asked = place.resume(refuse=k, **WAYS[way])
    if len(asked) < k:
        return False
    if said.code:
        one_line(said)
        assert_recovers(place, wanted)
    assert ending(place.run) == wanted
    shutil.rmtree(place.folder)
    return True


def test_a_resume_survives_a_disk_that_refuses(tmp_path, undisturbed):
    for k in range(1, 60, 8):
        resume_refused_at(tmp_path, "full", k, undisturbed("gpt")[0])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_resume_survives_a_disk_that_refuses_at_every_request(tmp_path, way, undisturbed):
    k = 1
    while resume_refused_at(tmp_path, way, k, undisturbed("gpt")[0]):
        k += 1
    assert k > 20, "a resume asks about thirty times"


def test_a_disk_that_refuses_the_thread_is_told_while_training_goes_on(tmp_path, undisturbed):
    """As above, with the thread at its own pace: whenever the error comes, it comes."""
    wanted, requests = undisturbed("gpt")
    for k in range(requests - 60, requests, 20):
        place = Place(tmp_path / f"{k}", "gpt")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("test_disk.write_in_turn", lambda _: None)
            said, _ = place.train(refuse=k)
            one_line(said)
        assert_recovers(place, wanted)


def test_too_little_room_is_found_before_a_save(tmp_path, undisturbed):
    place = Place(tmp_path / "place", "gpt")
    usage = namedtuple("usage", "total used free")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 50_000, 50_000))
        said, asked = place.train()
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "it needs 0.3 MB and 0.1 MB are free; make room" in said.err
    assert "no checkpoint was saved yet" in said.err
    assert not [word for word in asked if word.startswith("save_file")]
    assert_recovers(place, undisturbed("gpt")[0])


def test_a_small_disk_that_is_really_full(tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name == "nt" or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk]).returncode:
        pytest.skip("only Linux's root can mount a small disk")
    try:
        place = Place(disk / "place", "gpt")
        (disk / "filler").write_bytes(b"x" * 200_000)
        said, _ = place.train()
        assert said.code == 1
        assert said.err.count("\n") == 1
        assert "make room" in said.err
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert_recovers(place, undisturbed("gpt")[0])
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_counted_model_that_could_not_be_saved_says_so(tmp_path):
    place = Place(tmp_path / "place", "gpt")
    words = ("train", place.text, "--out", place.folder / "runs", "--name", "run", "--model", "ngram")
    said, asked = place.call(*words, refuse=None)
    assert said.code == 0, said
    at = next(k for k, word in enumerate(asked, 1) if word.startswith("save_file"))
    shutil.rmtree(place.run.path)
    shutil.rmtree(place.folder / "cache")
    one_line(place.call(*words, refuse=at)[0])
    with pytest.raises(CheckpointError, match="no checkpoint"):
        newest_checkpoint(place.run)
    said, _ = place.resume()
    assert said.code == 2
    assert "train it again" in said.err


@pytest.mark.parametrize("where", ["the folder", "a write"])
def test_tensorboard_that_cannot_write_ends_nothing(tmp_path, undisturbed, monkeypatch, where):
    if not TensorBoard.available():
        pytest.skip("the extra tensorboard is not installed")
    from torch.utils.tensorboard.writer import SummaryWriter

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SummaryWriter, "__init__" if where == "the folder" else "add_scalar", refuse)
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 4)
    place = Place(tmp_path / "place", "gpt")
    said = call("train", place.text, "--out", place.folder / "runs", "--name", "run", *TINY, *KINDS["gpt"])
    assert said.code == 0, said
    notices = [event["message"] for event in place.run.read_events() if event["event"] == "notice"]
    lost = [notice for notice in notices if "training goes on without TensorBoard" in notice]
    assert len(lost) == 1
    assert "No space left on device" in lost[0]
    reached = {**ending(place.run), "told": [e for e in told(place.run) if e.get("message") not in lost]}
    assert reached == undisturbed("gpt")[0]


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="POSIX file sizes")
def test_a_real_limit_on_file_sizes_ends_in_one_line(tmp_path):
    """The system itself refuses (EFBIG), where safetensors writes, too."""
    place = Place(tmp_path / "place", "gpt")
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from clearhead.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", place.text, "--out", place.folder / "runs", "--name", "run", *TINY, *KINDS["gpt"]]
    environment = {**os.environ, "CLEARHEAD_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert ended.returncode == 1, ended
    assert ended.stderr.startswith("clearhead: cannot write ")
    assert "File too large" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert place.leftovers() == []
