"""One writer per run: others are told who it is, and a lock that a kill left behind is none."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearhead.errors import CheckpointError, StorageError
from clearhead.runs.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from clearhead.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def held_elsewhere(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_with_the_holder(path):
    lock = RunLock(path)
    with pytest.raises(CheckpointError) as refused:
        RunLock(path)
    assert str(refused.value) == (
        f"run {path.parent} is being trained by process {os.getpid()}; wait for it, or stop it first"
    )
    assert refused.value.exit_code == 2
    lock.release()
    lock.release()
    RunLock(path).release()


def test_being_refused_changes_nothing(path):
    lock = RunLock(path)
    for _ in range(3):
        with pytest.raises(CheckpointError, match=f"process {os.getpid()}"):
            RunLock(path)
    lock.release()


def test_a_killed_holder_leaves_no_lock(path):
    process = held_elsewhere(path)
    with pytest.raises(CheckpointError, match=f"by process {process.pid};"):
        RunLock(path)
    process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    process.wait()
    assert path.exists(), "the file stays; the lock was the process's"
    begun = time.monotonic()
    lock = RunLock(path)
    assert time.monotonic() - begun < 1
    with pytest.raises(CheckpointError, match=f"by process {os.getpid()};"):
        RunLock(path)
    lock.release()


@pytest.mark.parametrize("content", [b"", b"999999999", b"\xff\xfe nonsense \x00" * 40, b"12\nab"])
def test_what_a_stale_file_holds_does_not_matter(path, content):
    path.write_bytes(content)
    lock = RunLock(path)
    with pytest.raises(CheckpointError, match=f"by process {os.getpid()};") as refused:
        RunLock(path)
    assert "\n" not in str(refused.value)
    lock.release()


def test_a_lock_that_cannot_be_written_is_the_disks_fault(path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"cannot write .*\.lock: Read-only file system"):
        RunLock(path)


def test_two_runs_have_two_locks(tmp_path):
    locks = [RunLock(tmp_path / name) for name in ("a", "b")]
    for lock in locks:
        lock.release()
