"""A text prepared in shards holds what the same text holds in memory, however it is cut."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearhead.config import RunConfig
from clearhead.data.manifest import INDEX_DTYPE, MANIFEST
from clearhead.data.prepare import Prepared, prepare
from clearhead.data.preparing.sharding import Order, Progress, make_shards
from clearhead.data.shards import ShardDataset
from clearhead.data.tokens import SPLITS, TokenDataset
from clearhead.errors import CorpusError

LINES = "".join(
    f"Line {number} goes over the hill and {number % 7} down, {number * number}.\n" for number in range(900)
)
UNICODE = "".join(f"Zeile {n}: Straße, Ångström, 日本語の文章 и русский 😀{'!' * (n % 4)}\n" for n in range(400))
DOCUMENTS = [f"document {i} of the wind and the hill, number {i * i}" * (1 + i % 5) for i in range(300)]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are tiny here and many: their flushes would take most of the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def made(folder: Path, *paths: Path, shard_tokens: int = 4_000, workers: int = 1, **reading: object) -> ShardDataset:
    """Texts prepared in small shards."""
    order = order_of(shard_tokens, workers, **reading)
    make_shards([str(path) for path in paths], folder, order, lambda progress: None)
    return ShardDataset.open(folder)


def order_of(shard_tokens: int = 4_000, workers: int = 1, **reading: object) -> Order:
    config = RunConfig().with_settings(reading)
    return Order(config.data, config.tokenizer, shard_tokens, workers)


def in_memory(*paths: Path, **reading: object) -> Prepared:
    return prepare(RunConfig().with_settings(reading), [str(path) for path in paths])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def json_lines(path: Path, documents: list[str]) -> Path:
    return written(path, "".join(json.dumps({"text": text}) + "\n" for text in documents))


def assert_same(shards: ShardDataset, memory: Prepared) -> None:
    """The same tokenizer, streams and figures."""
    assert shards.tokenizer.to_dict() == memory.tokenizer.to_dict()
    for split in SPLITS:
        pieces = [np.empty(0, dtype=np.uint16), *shards.pieces(split)]
        assert np.concatenate(pieces).tolist() == memory.data.ids(split).tolist(), split
    for name in ("val_sha256", "dtype", "separated", "dev_start", "tokens", "characters", "hidden", "vocab_size"):
        assert getattr(shards.meta, name) == getattr(memory.data.meta, name), name


@pytest.mark.parametrize("shard_tokens", [1_000, 7_777, 1 << 25])
@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe", "word"])
@pytest.mark.parametrize(
    "text",
    [LINES, UNICODE, LINES.replace("\n", "\r\n"), LINES.replace("\n", "\n\n  "), LINES.replace("\n", " ")],
    ids=["lines", "unicode", "crlf", "indented", "one line"],
)
def test_one_text_in_shards_is_the_text_in_memory(tmp_path, text, tokenizer, shard_tokens):
    path = written(tmp_path / "a.txt", text)
    reading = {"tokenizer": tokenizer} | ({"vocab_size": 400} if tokenizer in ("bpe", "word") else {})
    shards = made(tmp_path / "shards", path, shard_tokens=shard_tokens, **reading)
    assert_same(shards, in_memory(path, **reading))
    assert len(shards.manifest.of("train")) == 1 if shard_tokens > 1 << 20 else len(shards.manifest.of("train")) > 2


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_few_documents_are_each_cut_by_position(tmp_path, tokenizer):
    texts = (LINES, UNICODE, "a short one", LINES[:5_000], "x")
    paths = [written(tmp_path / f"{number}.txt", text) for number, text in enumerate(texts)]
    (tmp_path / "empty.txt").touch()
    shards = made(tmp_path / "shards", *paths, tmp_path / "empty.txt", tokenizer=tokenizer)
    assert_same(shards, in_memory(*paths, tmp_path / "empty.txt", tokenizer=tokenizer))
    assert len(shards.manifest.of("train")) > 5


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_many_documents_are_dealt_out_as_in_memory(tmp_path, tokenizer):
    path = json_lines(tmp_path / "a.jsonl", [*DOCUMENTS, *DOCUMENTS[:40], "only here: ž"])
    memory = in_memory(path, tokenizer=tokenizer)
    assert_same(made(tmp_path / "whole", path, shard_tokens=1 << 20, tokenizer=tokenizer), memory)


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_in_several_shards_documents_are_in_order_within_a_block(tmp_path, tokenizer):
    path = json_lines(tmp_path / "a.jsonl", DOCUMENTS)
    memory = in_memory(path, tokenizer=tokenizer)
    shards = made(tmp_path / "cut", path, shard_tokens=3_000, tokenizer=tokenizer)
    assert len(shards.manifest.of("train")) > 5
    for split in ("dev", "val"):
        assert shards.ids(split).tolist() == memory.data.ids(split).tolist()
    assert shards.meta.val_sha256 == memory.data.meta.val_sha256
    ours, theirs = (documents(data, memory.tokenizer.eot_id, "counts") for data in (shards, memory.data))
    assert sorted(ours) == sorted(theirs)
    assert ours != theirs, "as they come, block by block"
    assert len(shards.ids("counts")) == len(memory.data.ids("counts"))


def documents(data: TokenDataset, eot: int | None, split: str) -> list[list[int]]:
    ids = np.concatenate(list(data.pieces(split)))
    assert ids[0] == ids[-1] == eot
    return [part[1:].tolist() for part in np.split(ids, np.flatnonzero(ids == eot))[1:-1]]


def test_lines_and_packed_files_and_carried_texts(tmp_path):
    lines = written(tmp_path / "names.txt", "\n".join(f"name{n * 7919 % 1000}" for n in range(500)) + "\r\n\r\nlast")
    assert_same(made(tmp_path / "a", lines, shard_tokens=1 << 20, lines=True), in_memory(lines, lines=True))
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))
    assert_same(made(tmp_path / "b", packed), in_memory(packed))
    assert_same(made(tmp_path / "c", Path("grammar"), shard_tokens=1 << 18), in_memory(Path("grammar")))
    jsonl = tmp_path / "d.jsonl.gz"
    jsonl.write_bytes(gzip.compress("".join(json.dumps({"body": text}) + "\n" for text in DOCUMENTS).encode()))
    shards = made(tmp_path / "d", jsonl, shard_tokens=1 << 20, text_field="body")
    assert_same(shards, in_memory(jsonl, text_field="body"))


def test_lower_case_and_tokenizers_from_files(tmp_path):
    path = written(tmp_path / "a.txt", UNICODE + LINES)
    reading: dict[str, Any] = {"tokenizer": "word", "lowercase": True, "vocab_size": 100}
    assert_same(made(tmp_path / "a", path, **reading), in_memory(path, **reading))
    file = str(tmp_path / "a" / "tokenizer.json")
    assert_same(made(tmp_path / "b", path, tokenizer=file), in_memory(path, tokenizer=file))


def test_a_document_larger_than_a_block_is_trained_on(tmp_path):
    texts = [LINES[:9_000], *DOCUMENTS[:60], UNICODE]
    paths = [written(tmp_path / f"{number:03}.txt", text) for number, text in enumerate(texts)]
    shards = made(tmp_path / "shards", *paths, shard_tokens=4_000)
    eot = shards.manifest.eot_id
    found = [shards.tokenizer.decode(ids) for ids in documents(shards, eot, "counts") + documents(shards, eot, "val")]
    assert sorted(found) == sorted(texts)
    trained = [shards.tokenizer.decode(ids) for ids in documents(shards, eot, "train")]
    assert LINES[:9_000] in trained
    assert UNICODE in trained


def test_characters_that_only_held_documents_have_are_unknown(tmp_path):
    paths = [json_lines(tmp_path / "a.jsonl", [f"{text} {chr(0x4E00 + n)}" for n, text in enumerate(DOCUMENTS)])]
    memory = in_memory(*paths)
    assert memory.tokenizer.unk_id is not None
    assert memory.data.meta.hidden["val"] > 0
    assert_same(made(tmp_path / "a", *paths, shard_tokens=1 << 20), memory)
    cut = made(tmp_path / "b", *paths, shard_tokens=2_000)
    assert cut.tokenizer.to_dict() == memory.tokenizer.to_dict()
    assert cut.meta.hidden == memory.data.meta.hidden


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.sampled_from("ab \n\r\t\u3000\u2028é日1.'"), max_size=120), min_size=1, max_size=4),
    st.integers(1, 200),
    st.sampled_from(["char", "byte", "bpe", "word"]),
)
def test_any_texts_cut_anywhere(tmp_path_factory, texts, shard_tokens, tokenizer):
    folder = tmp_path_factory.mktemp("any")
    paths = [written(folder / f"{number}.txt", text) for number, text in enumerate(texts)]
    reading = {"tokenizer": tokenizer} | ({"vocab_size": 300} if tokenizer == "bpe" else {})
    if sum(map(len, texts)) < 2:
        with pytest.raises(CorpusError, match=r"is empty|holds one character"):
            made(folder / "shards", *paths, shard_tokens=shard_tokens, **reading)
        return
    memory = in_memory(*paths, **reading)
    if tokenizer == "word" and memory.tokenizer.unk_id is None:
        reading["unk"] = True  # what prepare always has
        memory = in_memory(*paths, **reading)
    assert_same(made(folder / "shards", *paths, shard_tokens=shard_tokens, **reading), memory)


def test_the_index_tells_where_documents_begin(tmp_path):
    shards = made(tmp_path / "a", json_lines(tmp_path / "a.jsonl", DOCUMENTS), shard_tokens=3_000)
    eot = shards.manifest.eot_id
    for shard in shards.manifest.shards:
        ids = np.fromfile(tmp_path / "a" / shard.file, dtype="<u2")
        index = np.fromfile(tmp_path / "a" / shard.index, dtype=INDEX_DTYPE)
        before = [eot, *ids[:-1].tolist()] if shard.file != "train-00000.bin" else [None, *ids[:-1].tolist()]
        expected = [place for place, token in enumerate(ids.tolist()) if before[place] == eot and token != eot]
        assert index.tolist() == (expected if shard.split == "train" else [p for p in expected if p])
    assert shards.manifest.total("train", "documents") + shards.manifest.total("dev", "documents") > 250


def test_processes_make_what_one_makes(tmp_path):
    path = written(tmp_path / "a.txt", LINES)
    for tokenizer in ("char", "bpe"):
        alone = made(tmp_path / f"{tokenizer}1", path, shard_tokens=9_000, tokenizer=tokenizer).manifest
        assert (
            made(tmp_path / f"{tokenizer}2", path, shard_tokens=9_000, workers=2, tokenizer=tokenizer).manifest == alone
        )


def test_a_folder_is_begun_and_finished_once(tmp_path):
    path = written(tmp_path / "a.txt", LINES)
    folder = tmp_path / "a"
    first = made(folder, path).manifest
    told = (folder / MANIFEST).read_bytes()
    seen: list[str] = []
    again = make_shards([str(path)], folder, order_of(), lambda progress: seen.append(progress.step))
    assert (again, set(seen)) == (first, {"verify"})
    assert (folder / MANIFEST).read_bytes() == told
    with pytest.raises(CorpusError, match="prepared otherwise; give another --out"):
        made(folder, path, tokenizer="byte")
    written(path, LINES + "more")
    with pytest.raises(CorpusError, match="holds another text"):
        made(folder, path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    with pytest.raises(CorpusError, match="is not empty"):
        made(tmp_path / "b", path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"x", "holds one character"),
        (b"good\n" * 900 + b"bad \xff\n" + b"good\n" * 900, "byte 0xFF at offset 4504"),
        (b"good\n" * 900 + b"bad \0\n", "NUL byte at offset 4504"),
        ("wide".encode("utf-16"), "is UTF-16"),
    ],
)
def test_what_is_no_text_is_said_as_in_memory(tmp_path, data, reason):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=reason) as memory:
        in_memory(path)
    with pytest.raises(CorpusError) as refused:
        made(tmp_path / "shards", path, shard_tokens=1_000)
    assert str(refused.value) == str(memory.value)


def test_a_bad_line_is_named_by_its_number_in_the_file(tmp_path):
    path = json_lines(tmp_path / "a.jsonl", DOCUMENTS)
    written(path, path.read_text() + '{"text": 7}\n' + '{"text": "fine"}\n' * 50)
    with pytest.raises(CorpusError, match="line 301: no text in field 'text'") as memory:
        in_memory(path)
    with pytest.raises(CorpusError) as refused:
        made(tmp_path / "shards", path, shard_tokens=2_000)
    assert str(refused.value) == str(memory.value)
    written(path, "".join(path.read_text().splitlines(keepends=True)[:300]))
    assert made(tmp_path / "shards", path).manifest.shards, "begun afresh: nothing was finished"


def test_standard_input_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="can be read only once"):
        made(tmp_path / "shards", Path("-"))


def test_a_text_that_changes_between_the_two_looks_is_noticed(tmp_path):
    path = written(tmp_path / "a.txt", LINES)

    def change(progress: Progress) -> None:
        if progress.step == "encode" and progress.done == 0:
            written(path, LINES.replace("hill", "dale"))

    with pytest.raises(CorpusError, match="has changed while it was being prepared"):
        make_shards([str(path)], tmp_path / "shards", order_of(), change)
