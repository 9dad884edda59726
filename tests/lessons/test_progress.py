"""What was done is kept, and a broken file loses nobody a lesson."""

from pathlib import Path

import pytest

from clearhead.errors import StorageError
from clearhead.lessons.predicting import Outcome
from clearhead.lessons.progress import Done, keep, progress_file, read_progress
from clearhead.runtime import state_dir


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "state"))


DONE = Done.now("poem", 1.234, [Outcome("How many?", 60.0, 65, True), Outcome("Which?", None, "b", None)])


def test_nothing_was_done_at_first() -> None:
    assert read_progress() == ({}, None)
    assert not progress_file().exists(), "looking writes nothing"


def test_what_was_done_is_read_again() -> None:
    keep("characters", DONE)
    keep("sampling", DONE)
    assert read_progress() == ({"characters": DONE, "sampling": DONE}, None)
    assert DONE.seconds == 1.2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"lessons": 3}', b'{"lessons": {"a": {}}}', b"\xff\xfe", b'{"lessons": {"a": [1]}}']
)
def test_a_broken_file_is_set_aside(content: bytes) -> None:
    progress_file().parent.mkdir(parents=True)
    progress_file().write_bytes(content)
    done, notice = read_progress()
    assert done == {}
    assert notice is not None
    assert "set aside" in notice
    assert progress_file().with_name("lessons.json.broken").read_bytes() == content
    assert read_progress() == ({}, None)
    keep("characters", DONE)
    assert read_progress() == ({"characters": DONE}, None)


def test_a_state_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("CLEARHEAD_STATE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot write"):
        keep("characters", DONE)


def test_where_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEARHEAD_STATE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir() == tmp_path / "clearhead"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_dir() == Path.home() / ".local" / "state" / "clearhead"
    monkeypatch.setattr("sys.platform", "darwin")
    assert state_dir().parent.name == "Application Support"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert state_dir() == tmp_path / "clearhead" / "state"
