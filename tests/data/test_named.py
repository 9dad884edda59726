import hashlib
import io
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from clearhead.config import DataConfig
from clearhead.data import named
from clearhead.data.sources import read_source
from clearhead.errors import CorpusError, StorageError

TEXT = b"emma\nolivia\nava\n"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> Path:
    """No corpora at hand, a cache of its own, a small corpus under the name "names", and no network."""
    monkeypatch.setenv("CLEARHEAD_CORPORA", str(tmp_path / "corpora"))
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    sha256 = hashlib.sha256(TEXT).hexdigest()
    for name, lines in (("names", True), ("shakespeare", False)):
        item = named.NamedCorpus(name, f"{name}.txt", sha256, f"https://example.org/{name}.txt", lines)
        monkeypatch.setitem(named.DOWNLOADABLE, name, item)
    answer(monkeypatch, URLError("Name or service not known"))
    (tmp_path / "corpora").mkdir()
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, what: bytes | Exception) -> list[str]:
    """Let every download give these bytes, or fail so; return the addresses asked for."""
    asked: list[str] = []

    def urlopen(address: str, timeout: float) -> Any:
        asked.append(address)
        if isinstance(what, Exception):
            raise what
        return io.BytesIO(what)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_a_local_file_is_used_and_names_are_lines(folders):
    (folders / "corpora" / "names.txt").write_bytes(TEXT)
    source = read_source(["names"], DataConfig())
    assert source.documents == ("emma", "olivia", "ava")
    assert (source.name, source.paths) == ("names", ("names",))


def test_a_local_file_with_another_text_is_refused(folders):
    (folders / "corpora" / "names.txt").write_bytes(TEXT + b"x")
    with pytest.raises(CorpusError, match="is not the corpus 'names': its SHA-256 begins"):
        read_source(["names"], DataConfig())


def test_a_download_is_verified_kept_and_not_repeated(folders, monkeypatch):
    asked = answer(monkeypatch, TEXT)
    first = read_source(["names"], DataConfig())
    second = read_source(["names"], DataConfig())
    assert first == second
    assert asked == ["https://example.org/names.txt"]
    assert [p.name for p in (folders / "cache" / "corpora").iterdir()] == ["names.txt"]


def test_a_download_of_another_text_is_refused_and_not_kept(folders, monkeypatch):
    answer(monkeypatch, b"<html>moved</html>")
    with pytest.raises(CorpusError, match="cannot be downloaded \\(its SHA-256 begins") as caught:
        read_source(["names"], DataConfig())
    assert "\n" not in str(caught.value)
    assert not (folders / "cache").exists()


@pytest.mark.parametrize("error", [URLError("Network is unreachable"), TimeoutError("timed out"), ValueError("odd")])
def test_without_a_network_one_line_says_what_to_do(monkeypatch, error):
    answer(monkeypatch, error)
    with pytest.raises(CorpusError, match="into a folder named by CLEARHEAD_CORPORA") as caught:
        read_source(["names"], DataConfig())
    assert str(getattr(error, "reason", error)) in str(caught.value)


def test_a_host_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(named, "_fetch", lambda *_: time.sleep(30))
    start = time.perf_counter()
    with pytest.raises(CorpusError, match=r"no answer within 0\.1 seconds"):
        named.download(named.DOWNLOADABLE["names"], patience=0.1)
    assert named.default_corpus(patience=0.1) == "python-docs"
    assert time.perf_counter() - start < 10


def test_a_full_disk_is_a_storage_error(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    answer(monkeypatch, TEXT)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        named.download(named.DOWNLOADABLE["names"])


def test_the_default_is_shakespeare_at_hand_or_downloaded_else_the_python_docs(folders, monkeypatch):
    assert named.default_corpus() == "python-docs"
    answer(monkeypatch, TEXT)
    assert named.default_corpus() == "shakespeare"
    answer(monkeypatch, URLError("gone"))
    assert named.default_corpus() == "shakespeare"
    (folders / "corpora" / "shakespeare.txt").write_bytes(b"another text")
    with pytest.raises(CorpusError, match="is not the corpus 'shakespeare'"):
        named.default_corpus()


def test_python_docs_name_their_version(monkeypatch):
    name, text = named.python_docs()
    assert name.startswith("python-docs (Python 3.")
    assert len(text) > 100_000
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(CorpusError, match="lacks the texts"):
        named.python_docs()
