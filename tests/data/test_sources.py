import gzip
import io
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from clearhead.config import DataConfig
from clearhead.data import named
from clearhead.data.sources import Source, read_source
from clearhead.errors import CorpusError

PLAIN = DataConfig()


def read(*corpus: object, config: DataConfig = PLAIN) -> Source:
    return read_source([str(argument) for argument in corpus], config)


def refusal(*corpus: object, config: DataConfig = PLAIN) -> str:
    """The one line that says why a corpus is refused."""
    with pytest.raises(CorpusError) as caught:
        read(*corpus, config=config)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value) or "?" in str(caught.value), "a next step is wanted"
    return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_file_is_one_document_with_its_line_ends(here):
    (here / "a.txt").write_bytes("\ufeffone\r\ntwo\n\rthree é".encode())
    source = read("a.txt")
    assert source == Source("a.txt", ("one\r\ntwo\n\rthree é",), (str(here / "a.txt"),))


def test_several_files_are_several_documents_once_each(here):
    for name in "abcd":
        (here / name).write_text(f"text {name}")
    source = read("b", "a", "b", "c", "d")
    assert source.documents == ("text b", "text a", "text c", "text d")
    assert source.name == "b, a, c and 1 more"
    assert source.paths == tuple(str(here / name) for name in "bacd")


def test_a_folder_gives_its_text_files_sorted_and_recursive(here):
    (here / "deep").mkdir()
    (here / ".git").mkdir()
    (here / "b.md").write_text("B")
    (here / "deep" / "a.TXT").write_text("DA")
    (here / "z.txt.gz").write_bytes(gzip.compress(b"Z", mtime=0))
    (here / "none.txt").write_text("")
    (here / "image.png").write_bytes(b"\0\1")
    (here / ".git" / "hidden.txt").write_text("H")
    (here / ".hidden.txt").write_text("H")
    source = read(here)
    assert source.documents == ("B", "DA", "Z")
    assert source.notices == ("1 empty file(s) left out, such as 'none.txt'",)
    assert read(*source.paths).documents == source.documents


def test_a_glob_gives_what_it_matches_and_is_found_again_from_elsewhere(here, monkeypatch):
    (here / "[odd]").mkdir()
    monkeypatch.chdir(here / "[odd]")
    for name in ("b.py", "a.py", "c.txt"):
        Path(name).write_text(name)
    source = read("*.py")
    assert source.documents == ("a.py", "b.py")
    monkeypatch.chdir(here)
    assert read(*source.paths).documents == source.documents
    assert "quote it" in refusal("*.nothing")


def test_standard_input_is_read_as_bytes(monkeypatch):
    feed(monkeypatch, "grüß\r\ngott".encode())
    assert read("-") == Source("standard input", ("grüß\r\ngott",), ())
    feed(monkeypatch, gzip.compress(b"packed", mtime=0))
    assert read("-").documents == ("packed",)
    feed(monkeypatch, b"")
    assert "standard input is empty" in refusal("-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input cannot be read" in refusal("-")


def test_lines_are_documents_without_their_ends(here):
    (here / "names").write_bytes(b"emma\r\n\nava\rmia\x0bx\n")
    assert read("./names", config=DataConfig(lines=True)).documents == ("emma", "ava", "mia\x0bx")


def test_json_lines_hold_one_document_each(here):
    rows = [{"text": "one\n"}, {"text": ""}, {"body": 1, "text": "two"}]
    packed = "\n\n".join(map(json.dumps, rows)).encode()
    (here / "a.jsonl").write_bytes(packed)
    (here / "b.JSONL.gz").write_bytes(gzip.compress(packed.replace(b"text", b"body2")))
    assert read("a.jsonl").documents == ("one\n", "two")
    assert read("b.JSONL.gz", config=DataConfig(text_field="body2")).documents == ("one\n", "two")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: no JSON"),
        ("[" * 100_000, "line 2: no JSON"),
        ('"text"', "is no object; write"),
        ('{"body": "a", "n": 1}', "(fields: 'body', 'n')"),
        ('{"text": 3}', "no text in field 'text'"),
        ('{"text": "a\\u0000"}', "NUL at offset 1"),
        ('{"text": "ab\\ud800"}', "lone surrogate U+D800 at offset 2"),
    ],
)
def test_bad_json_lines_are_named_by_number(here, line, reason):
    (here / "a.jsonl").write_text('{"text": "fine"}\n' + line)
    assert reason in refusal("a.jsonl")


def test_errors_replace_mends_bytes_and_escapes(here):
    (here / "a.txt").write_bytes(b"caf\xe9 ok")
    (here / "a.jsonl").write_text('{"text": "ab\\ud800c"}')
    config = DataConfig(errors="replace")
    assert read("a.txt", config=config).documents == ("caf\ufffd ok",)
    assert read("a.jsonl", config=config).documents == ("ab\ufffdc",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"x", "one character"),
        ("é".encode(), "one character"),
        (b"caf\xe9 ok", "byte 0xE9 at offset 3"),
        (b"\xef\xbb\xbfcaf\xe9 ok", "byte 0xE9 at offset 6"),
        (b"abc\0def", "NUL byte at offset 3"),
        ("hello".encode("utf-16"), "UTF-16"),
        (gzip.compress(b"hello", mtime=0)[:-9], "broken gzip"),
        (b"\x1f\x8bnothing", "broken gzip"),
    ],
)
def test_bad_bytes_are_refused_in_one_line(here, content, reason):
    (here / "a.txt").write_bytes(content)
    message = refusal("a.txt")
    assert reason in message
    assert ("--errors replace" in message) == (b"\xe9" in content)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs and no sockets in folders")
def test_what_is_no_file_is_refused_without_waiting(here):
    os.mkfifo("fifo")
    assert "is a FIFO" in refusal("fifo")
    assert "is a device" in refusal("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert "is a socket" in refusal("socket")
    (here / "empty").mkdir()
    os.mkfifo("empty/pipe.txt")
    assert "holds no text files" in refusal("empty")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("inptu.txt", "did you mean 'input.txt'?"),
        ("deep/bok.txt", "did you mean 'deep/book.txt'?"),
        ("shakespear", "did you mean 'shakespeare'?"),
        ("input.txt/", "give a file"),
        ("qqqq", "python-docs"),
        ("no\0thing", "give a file"),
        ("x" * 5_000, "give a file"),
        ("gone/away\n.txt", "give a file"),
        ("", "give a file"),
    ],
)
def test_a_missing_path_gets_a_suggestion(here, asked, hint):
    (here / "input.txt").write_text("text")
    (here / "deep").mkdir()
    (here / "deep" / "book.txt").write_text("text")
    assert hint in refusal(asked)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_an_unreadable_file_is_refused_with_the_systems_reason(here, monkeypatch, error):
    def deny(self: Path) -> bytes:
        raise error

    (here / "a.txt").write_text("text")
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert error.strerror in refusal("a.txt")


def test_an_unreadable_folder_is_refused(here, monkeypatch):
    def deny(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", deny)
    assert "Permission denied" in refusal(here)


def test_a_path_wins_over_a_corpus_of_that_name(here):
    assert read("python-docs").name.startswith("python-docs (Python 3.")
    (here / "python-docs").write_text("my own")
    assert read("python-docs").documents == ("my own",)


def test_without_an_argument_the_default_corpus_is_read(monkeypatch):
    monkeypatch.setattr(named, "default_corpus", lambda: "python-docs")
    source = read()
    assert source.paths == ("python-docs",)
    assert len(source.documents) == 1
    assert len(source.documents[0]) > 100_000
