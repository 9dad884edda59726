"""kill -9 while shards are written, again and again: the same command ends with the bytes of one that nobody killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from clearhead.data.manifest import MANIFEST
from clearhead.files import sha256_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

LINES = "".join(
    f"Line {number} goes over the hill and {number % 7} down, {number * number}.\n" for number in range(3_000)
)
WORDS = "--shard_tokens 16000 --workers 2 --json".split()  # noqa: SIM905
GONE = 10.0
"""Seconds in which workers must have noticed that who asked them is gone; it takes a moment."""


def begun(text: Path, folder: Path, *words: str, limit: int | None = None) -> subprocess.Popen[str]:
    """The command, in a process of its own; with a limit no file may become larger."""
    argv = ["prepare", str(text), "--out", str(folder), *WORDS, *words]
    bounded = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));" if limit else ""
    code = f"{bounded}import sys; from clearhead.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def all_gone(processes: list[int]) -> bool:
    """Whether processes have ended, or do within a moment."""
    end = time.monotonic() + GONE
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(alive, processes))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text(LINES)
    return path


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is not done before a signal arrives."""
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text(20 * LINES)
    return path


def killed_at_random(tmp_path: Path, text: Path, kills: int, *words: str) -> None:
    """Kill the command at random moments, go on each time; at last all is as if nothing had happened."""
    start = time.monotonic()
    code, _, error = finished(begun(text, tmp_path / "whole", *words))
    assert code == 0, error
    takes, random, landed, number = time.monotonic() - start, Random(4), 0, 0
    while landed < kills:
        folder = tmp_path / f"killed-{number}"
        number += 1
        for _ in range(1 + number % 3):  # some are killed several times
            process = begun(text, folder, *words)
            time.sleep(random.uniform(0.1, 1.0) * takes)
            workers = children(process.pid)
            landed += process.poll() is None
            process.kill()
            process.communicate()
            assert all_gone(workers), "a worker outlived who asked it"
        code, _, error = finished(begun(text, folder, *words))
        assert code == 0, error
        assert contents(folder) == contents(tmp_path / "whole")


def test_a_few_kills_leave_the_same_bytes(tmp_path, text):
    killed_at_random(tmp_path, text, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer", "kills"), [("char", 50), ("bpe", 20)])
def test_many_kills_leave_the_same_bytes(tmp_path, text, tokenizer, kills):
    killed_at_random(tmp_path, text, kills, "--tokenizer", tokenizer)


def test_a_killed_worker_is_one_line_and_nothing_is_lost(tmp_path, longer):
    process = begun(longer, tmp_path / "a")
    while not (tmp_path / "a" / "train-00001.bin").exists():
        time.sleep(0.005)
    for worker in children(process.pid):
        with open(f"/proc/{worker}/cmdline") as told:
            if "spawn_main" in told.read():
                os.kill(worker, signal.SIGKILL)
                break
    code, out, error = finished(process)
    assert (code, out) == (1, "")
    assert "clearhead: a worker was ended from outside" in error.splitlines()[-1]
    assert not (tmp_path / "a" / MANIFEST).exists()
    assert finished(begun(longer, tmp_path / "a"))[0] == finished(begun(longer, tmp_path / "b"))[0] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_interrupting_leaves_at_once_and_nothing_is_lost(tmp_path, longer):
    process = begun(longer, tmp_path / "a")
    while not (tmp_path / "a" / "train-00001.bin").exists():
        time.sleep(0.005)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    code, _, error = finished(process)
    assert (code, error.splitlines()[-1]) == (130, "clearhead: interrupted")
    assert "Traceback" not in error
    assert all_gone(workers)
    code, told, _ = finished(begun(longer, tmp_path / "a"))
    assert (code, json.loads(told)["splits"]["train"]["documents"]) == (0, 1)


@pytest.mark.parametrize("limit", [500, 20_000])
def test_a_disk_that_refuses_is_one_line_and_nothing_half_written_is_believed(tmp_path, text, limit):
    code, out, error = finished(begun(text, tmp_path / "a", limit=limit))
    assert (code, out) == (1, "")
    last = error.splitlines()[-1]
    assert last.startswith("clearhead: cannot write ")
    assert "Traceback" not in error
    assert not (tmp_path / "a" / MANIFEST).exists()
    assert finished(begun(text, tmp_path / "a"))[0] == finished(begun(text, tmp_path / "b"))[0] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, text):
    (tmp_path / "file").touch()
    code, _, error = finished(begun(text, tmp_path / "file" / "a"))
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("clearhead: cannot write ")
