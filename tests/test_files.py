"""Files are whole or not there, whatever the disk does."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from clearhead.errors import StorageError
from clearhead.files import folder_atomic, sha256_file, write_atomic


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "pointer"
    write_atomic(path, "one")
    write_atomic(path, b"two")
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["pointer"]


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pointer"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StorageError, match=r"No space left on device .*MB free"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["pointer"]


def test_a_folder_appears_whole(tmp_path):
    with folder_atomic(tmp_path / "run") as aside:
        (aside / "file").write_text("content")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "file").read_text() == "content"


def test_a_folder_that_fails_vanishes(tmp_path, monkeypatch):
    with pytest.raises(ZeroDivisionError), folder_atomic(tmp_path / "run") as aside:
        (aside / "file").write_text(str(1 / 0))
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(Path, "rename", _full)
    with pytest.raises(StorageError), folder_atomic(tmp_path / "run") as aside:
        (aside / "file").write_text("content")
    assert os.listdir(tmp_path) == []
