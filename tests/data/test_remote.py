"""Object stores through fsspec: its file systems in memory and on the disk stand for them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec import filesystem

from clearhead import api
from clearhead.cli.main import main
from clearhead.config import DataConfig
from clearhead.data.remote import local_folder
from clearhead.data.shards import ShardDataset
from clearhead.data.sources import read_source
from clearhead.errors import CorpusError

TEXTS = [f"the {i}th dog ran to the {i * 5 % 13}th log\n" * 3 for i in range(40)]
SMALL = "--max_iters 3 --n_embd 16 --n_layer 1 --n_head 2 --block_size 16 --batch_size 4 --eval_iters 1".split()  # noqa: SIM905


@pytest.fixture
def memory() -> Iterator[Any]:
    system = filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def put(system: Any, path: str, data: bytes) -> None:
    with system.open(path, "wb") as file:
        file.write(data)


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def test_files_folders_and_globs_are_read(memory: Any) -> None:
    put(memory, "/books/one.txt", TEXTS[0].encode())
    put(memory, "/books/two.txt.gz", gzip.compress(TEXTS[1].encode()))
    put(memory, "/books/more/rows.jsonl", lines(TEXTS[2:]))
    put(memory, "/books/image.png", b"\0")
    read = lambda url: list(read_source([url], DataConfig()).documents)  # noqa: E731
    assert read("memory://books/one.txt") == TEXTS[:1]
    assert read("memory://books/*.txt*") == TEXTS[:2]
    assert sorted(read("memory://books")) == sorted(TEXTS)


def test_an_address_of_this_disk_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXTS[3], encoding="utf-8")
    source = read_source([f"file://{tmp_path}/a.txt"], DataConfig())
    assert (source.name, source.documents, source.paths) == ("a.txt", (TEXTS[3],), (f"file://{tmp_path}/a.txt",))


def test_what_is_prepared_from_a_store_is_what_is_prepared_from_files(memory: Any, tmp_path: Path) -> None:
    put(memory, "/in/a.jsonl", lines(TEXTS[:20]))
    put(memory, "/in/b.jsonl.gz", gzip.compress(lines(TEXTS[20:])))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(lines(TEXTS[:20]))
    (tmp_path / "in" / "b.jsonl").write_bytes(lines(TEXTS[20:]))
    for source, out in (("memory://in", "far"), (str(tmp_path / "in"), "near")):
        assert main(["prepare", source, "--out", str(tmp_path / out), "--workers", "1"]) == 0
    far, near = (ShardDataset.open(tmp_path / out) for out in ("far", "near"))
    for split in ("train", "dev", "val"):
        assert far.ids(split).tolist() == near.ids(split).tolist()
    assert not (tmp_path / "far" / ".work").exists()


@pytest.fixture
def uploaded(memory: Any, tmp_path: Path) -> str:
    """A prepared folder in a store, and nowhere else."""
    (tmp_path / "texts.jsonl").write_bytes(lines(TEXTS))
    out = tmp_path / "prepared"
    assert main(["prepare", str(tmp_path / "texts.jsonl"), "--out", str(out), "--workers", "1"]) == 0
    for file in out.iterdir():
        put(memory, f"/store/{file.name}", file.read_bytes())
        file.unlink()
    return "memory://store"


def test_a_prepared_folder_is_trained_on_from_a_store(uploaded: str, tmp_path: Path) -> None:
    assert main(["train", uploaded, "--out", str(tmp_path / "runs"), "--name", "far", *SMALL]) == 0
    run = api.load(tmp_path / "runs" / "far")
    assert run.directory.read_corpus()["paths"] == [uploaded]
    local_folder(uploaded).rename(tmp_path / "away")  # the cache was emptied
    assert len(api.load(run.directory.path).data.ids("train")) > 1_000, "fetched again"
    assert main(["resume", str(run.directory.path), "--max_iters", "5"]) == 0


def test_a_copy_that_is_whole_is_not_fetched_again(uploaded: str, memory: Any) -> None:
    folder = local_folder(uploaded)
    memory.rm("/store/train-00000.bin")
    assert local_folder(uploaded) == folder
    assert len(ShardDataset.open(uploaded).ids("train")) > 1_000


def test_a_shard_that_is_not_what_was_written_is_refused(uploaded: str, memory: Any) -> None:
    data = bytearray(memory.cat_file("/store/train-00000.bin"))
    data[10] ^= 1
    put(memory, "/store/train-00000.bin", bytes(data))
    put(memory, "/store/manifest.json", memory.cat_file("/store/manifest.json") + b" ")  # no copy of another test
    with pytest.raises(CorpusError, match=r"train-00000\.bin is not what its manifest says"):
        ShardDataset.open(uploaded)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://nothing/here.txt", "does not exist"),
        ("memory://*.txt", "does not exist"),
        ("nosuch://bucket/a.txt", "Protocol not known: nosuch"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(url: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        read_source([url], DataConfig())


def test_a_missing_driver_is_named() -> None:
    try:
        import s3fs  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(CorpusError, match=r"'s3://bucket/a\.txt' cannot be read here: Install s3fs"):
            read_source(["s3://bucket/a.txt"], DataConfig())
    else:
        pytest.skip("s3fs is installed")
