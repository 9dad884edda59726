"""Texts that are none, or odd: refused in one line that helps, or used as they are. Nothing is left behind."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sabotage import TEXT, TINY, Said, cache_of_tests, call, contents, copy_of, cut_short, make_run, refusal, sha256

from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.runs.directory import RunDirectory

VERBS: dict[str, tuple[str, ...]] = {"look": (), "train": TINY, "ladder": ()}

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.txt": (b"", "empty"),
    "mark.txt": (b"\xef\xbb\xbf", "empty"),
    "one.txt": (b"x", "one character"),
    "wide.txt": ("é".encode(), "one character"),
    "latin.txt": ("caf\xe9 au lait".encode("latin-1"), "byte 0xE9 at offset 3; convert the file, or add --errors"),
    "marked.txt": (b"\xef\xbb\xbfcaf\xe9 au lait", "byte 0xE9 at offset 6"),
    "cut.txt": (("tea " * 9_000 + "é").encode()[:-1], "byte 0xC3 at offset 36000"),
    "nul.txt": (b"tea\0pot", "NUL byte at offset 3"),
    "utf16.txt": ("tea".encode("utf-16"), "is UTF-16; convert it: iconv -f UTF-16"),
    "utf32.txt": ("tea".encode("utf-32"), "is UTF-32; convert it: iconv -f UTF-32"),
    "broken.txt.gz": (gzip.compress(b"tea" * 99)[:-9], "broken gzip"),
    "empty.jsonl": (b"\n", "empty"),
    "no.jsonl": (b'{"text": "tea"}\n{"body": "pot"}', "line 2: no text in field 'text' (fields: 'body')"),
    "number.jsonl": (b'{"text": ' + b"9" * 5_000 + b"}", "line 1: no JSON"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a text, and a run that nothing may touch."""
    (tmp_path / "runs" / "older").mkdir(parents=True)
    (tmp_path / "runs" / "older" / "config.toml").write_text("untouched")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with cache_of_tests(tmp_path_factory):
        return make_run(tmp_path_factory.mktemp("inputs"))


def refused_untouched(folder: Path, *words: object) -> str:
    """The one line of a refusal, after which the folder is what it was before."""
    before = contents(folder)
    line = refusal(call(*words))
    assert contents(folder) == before
    return line


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", REFUSED)
def test_bytes_that_are_no_text(here, verb, name):
    content, reason = REFUSED[name]
    (here / name).write_bytes(content)
    line = refused_untouched(here, verb, name, *VERBS[verb])
    assert reason in line
    assert name in line


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_file(here, verb):
    def refused(name: str) -> str:
        line = refused_untouched(here, verb, name, *VERBS[verb])
        assert name in line
        return line

    (here / "folder").mkdir()
    assert "holds no text files" in refused("folder")
    assert "does not exist" in refused("missing.txt")
    (here / "input.txt").write_text("tea")
    assert "did you mean 'input.txt'?" in refused("inptu.txt")
    os.symlink("loop", "loop")
    assert "does not exist" in refused("loop")
    assert "holds one character" in refused_untouched(here, verb, _written(here / "x", b"x"), *VERBS[verb])


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs in folders")
def test_a_fifo_is_not_waited_for(here):
    os.mkfifo("fifo")
    for words in (("look", "fifo"), ("train", "--config", "fifo")):
        done = subprocess.run(
            [sys.executable, "-m", "clearhead", *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2, done
        assert done.stderr.count("\n") == 1, done
        assert "fifo" in done.stderr


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no permissions that tests can take away")
def test_a_file_that_may_not_be_read(here):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        locked = _written(Path(folder) / "locked.txt", b"tea for two")
        call("look", locked)  # what is imported on use is imported now
        locked.chmod(0)
        said = _as_nobody(lambda: call("look", locked))
        assert "cannot be read (Permission denied); check its permissions" in refusal(said)
        assert "locked.txt" in said.err


def _as_nobody(act: Callable[[], Said]) -> Said:
    """Act without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        return act()
    os.seteuid(65_534)
    try:
        return act()
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("size", [2, 3, 11, 49, 300])
@pytest.mark.parametrize("verb", VERBS)
def test_a_text_that_no_block_fits_into_is_used_as_far_as_it_goes(here, verb, size):
    (here / "short.txt").write_text((TEXT * 2)[:size])
    said = call(verb, "short.txt", *VERBS[verb])
    assert said.code == 0, said
    assert not said.err
    if verb == "train" and size <= 16:
        assert f"tokens can fill; using {size - 1}" in said.out


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("content", [b"a" * 3_000, b"\n" * 3_000, b"\r\n" * 40, "é".encode() * 200])
def test_a_text_of_one_kind_of_character_is_used(here, verb, content):
    (here / "same.txt").write_bytes(content)
    said = call(verb, "same.txt", *VERBS[verb])
    assert said.code == 0, said
    assert not said.err


def test_a_byte_order_mark_is_no_text(here):
    marked = _written(here / "marked.txt", b"\xef\xbb\xbf" + TEXT.encode() * 40)
    plain = _written(here / "plain.txt", TEXT.encode() * 40)
    facts = [json.loads(call("look", path, "--json").out) for path in (marked, plain)]
    assert [fact.pop("corpus") for fact in facts] == ["marked.txt", "plain.txt"]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("tokenizer", ["char", "word", "byte", "bpe"])
@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n\r", "\r\n\n"])
def test_line_ends_come_back_as_they_were(here, tokenizer, ends):
    text = TEXT.replace("\n", ends) * 20
    path = _written(here / "text.txt", text.encode())
    config = RunConfig().updated({"tokenizer": {"tokenizer": tokenizer}})
    prepared = prepare(config, [str(path)])
    corpus, data = prepared.corpus, prepared.data
    assert corpus.sha256 == sha256(path)
    for split, documents in (("train", corpus.fit), ("dev", corpus.dev), ("val", corpus.val)):
        decoded, original = prepared.tokenizer.decode(data.ids(split)), "".join(documents)
        if data.meta.hidden[split]:  # a split cuts words, and half a word is unknown
            decoded, original = decoded[-50:], original[-50:]
        assert decoded == original
        assert ends in decoded


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1b[31m", "\u202e", "\ufeff"])
def test_characters_that_end_lines_elsewhere_end_none_here(here, odd):
    """What a model says of such a text is told in events, which are lines."""
    (here / "odd.txt").write_bytes(("tea" + odd + "pot ").encode() * 900)
    said = call("train", "odd.txt", *TINY, "--json")
    assert said.code == 0, said
    (listed,) = json.loads(call("runs", "--json").out)["runs"]
    assert listed["val"] is not None
    assert listed["step"] == 4
    events = RunDirectory(Path(listed["run"])).read_events()
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "finished"


@pytest.mark.parametrize("name", ["[red]x.txt", "[b.txt", "a b;c&d.txt", "-x.txt", "ü\u2028é.txt", "{0}%s.txt"])
def test_names_that_mean_something_elsewhere_mean_nothing_here(here, name):
    (here / name).write_text(TEXT * 40)
    for verb, flags in VERBS.items():
        said = call(verb, here / name, *flags)
        assert said.code == 0, said
    assert call("runs").code == 0
    assert name in json.dumps(json.loads(call("runs", "--json").out), ensure_ascii=False)


def test_bytes_that_are_not_utf8_are_replaced_where_that_is_asked_for(here):
    (here / "latin.txt").write_bytes(("caf\xe9 " + TEXT * 9).encode("latin-1"))
    facts = json.loads(call("look", "latin.txt", "--errors", "replace", "--json").out)
    assert facts["begins"].startswith("caf\ufffd The")
    assert facts["characters"] == len(TEXT) * 9 + 5


@pytest.mark.parametrize("change", [lambda text: text + "!", lambda text: text.replace("cat", "dog", 1), str.upper])
def test_a_text_that_has_changed_is_not_gone_on_with(finished, tmp_path, change):
    run = copy_of(finished, tmp_path)
    text = Path(run.read_corpus()["paths"][0])
    before = text.read_text(encoding="utf-8")
    text.write_text(change(before), encoding="utf-8")
    try:
        line = refused_untouched(run.path, "ladder", run.path)
        assert "the text of run run has changed" in line
        assert f"{len(before):,}" in line
        cut_short(run)
        assert "the text of run run has changed" in refused_untouched(run.path, "resume", run.path)
    finally:
        text.write_text(before, encoding="utf-8")


def test_a_text_that_is_gone_is_gone_on_with_by_its_tokens_only(finished, tmp_path, monkeypatch):
    run = copy_of(finished, tmp_path)
    text = Path(run.read_corpus()["paths"][0])
    before = text.read_bytes()
    text.unlink()
    try:
        assert call("ladder", run.path).code == 0
        monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "nothing"))
        assert "the text of run run is gone" in refused_untouched(run.path, "ladder", run.path)
    finally:
        text.write_bytes(before)


def test_tokens_that_have_changed_on_the_disk_are_not_learned_from(here):
    path = _written(here / "text.txt", TEXT.encode() * 40)
    expected = json.loads(call("ladder", path, "--json").out)
    meta = prepare(RunConfig(), [str(path)]).data.meta
    (folder,) = (here / "cache" / "tokens").iterdir()
    for file in folder.iterdir():
        whole = file.read_bytes()
        for at in range(0, len(whole), len(whole) // 5):
            flipped = bytearray(whole)
            flipped[at] ^= 1
            file.write_bytes(flipped)
            assert prepare(RunConfig(), [str(path)]).data.meta == meta
            assert file.read_bytes() == whole
    assert _figures(json.loads(call("ladder", path, "--json").out)) == _figures(expected)


def _figures(ladder: dict) -> list[float]:
    return [rung["bits_per_char"] for rung in ladder["rungs"]]
