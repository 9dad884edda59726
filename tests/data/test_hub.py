"""Hugging Face `datasets` as a source: small files of our own, no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearhead.cli.main import main
from clearhead.config import DataConfig
from clearhead.data.hub import find_rows
from clearhead.data.shards import ShardDataset
from clearhead.data.sources import read_source
from clearhead.errors import CorpusError

pytest.importorskip("datasets", reason="the package datasets is not installed: pip install 'clearhead[datasets]'")

TEXTS = [f"the {i}th cat sat on the {i * 7 % 11}th mat\nand slept" for i in range(40)]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same documents as Parquet in two files, JSON Lines and text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, part in enumerate((TEXTS[:25], TEXTS[25:])):
        rows = {"id": list(range(len(part) + 1)), "text": [*part, None]}
        pq.write_table(pa.table(rows), tmp_path / f"part-{number}.parquet")
    lines = "".join(json.dumps({"body": text}) + "\n" for text in TEXTS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "one.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("argument", ["{}/part-*.parquet", "hf:parquet:{}/part-*.parquet"])
def test_parquet_holds_a_document_in_each_row(argument: str, folder: Path) -> None:
    source = read_source([argument.format(folder)], DataConfig())
    assert list(source.documents) == TEXTS
    assert read_source(source.paths, DataConfig()).documents == source.documents, "found again by its paths"


def test_json_and_text_are_read_by_their_builders(folder: Path) -> None:
    rows = read_source([f"hf:json:{folder}/rows.jsonl"], DataConfig(text_field="body"))
    assert list(rows.documents) == TEXTS
    text = f"hf:text:{folder}/one.txt"
    assert read_source([text], DataConfig()).documents == ("\n".join(TEXTS),)
    assert list(read_source([text], DataConfig(lines=True)).documents) == "\n".join(TEXTS).split("\n")


def test_a_relative_path_is_found_again_from_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    source = read_source(["hf:parquet:part-0.parquet"], DataConfig())
    monkeypatch.chdir(folder.parent)
    assert read_source(source.paths, DataConfig()).documents == source.documents


def test_a_prepared_folder_holds_what_the_same_texts_in_memory_hold(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    assert main(["prepare", f"{folder}/part-*.parquet", "--out", str(out), "--workers", "1"]) == 0
    other = tmp_path / "other"
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    assert main(["prepare", str(tmp_path / "texts.jsonl"), "--out", str(other), "--workers", "1"]) == 0
    mine, theirs = ShardDataset.open(out), ShardDataset.open(other)
    for split in ("train", "dev", "val"):
        assert mine.ids(split).tolist() == theirs.ids(split).tolist()
    assert main(["prepare", f"{folder}/part-*.parquet", "--out", str(out), "--workers", "1"]) == 0, "verified"


def test_train_reads_parquet(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = "--max_iters 3 --n_embd 16 --n_layer 1 --n_head 2 --block_size 16 --batch_size 4".split()  # noqa: SIM905
    assert main(["train", f"{folder}/part-0.parquet", "--out", str(tmp_path / "runs"), *small, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("{}/none-*.parquet", "no file matches"),
        ("hf:", "write hf:parquet:FILES"),
        ("hf:owner/name:a:b:c", "write hf:parquet:FILES"),
        ("hf:json:{}/rows.jsonl", r"no column 'text' \(columns: 'body'\); name one with --text_field"),
        ("hf:parquet:{}/one.txt", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(argument: str, reason: str, folder: Path) -> None:
    with pytest.raises(CorpusError, match=reason) as raised:
        read_source([argument.format(folder)], DataConfig())
    assert len(str(raised.value).splitlines()) == 1


def test_a_column_that_holds_no_text_is_named(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"row 1: column 'id' holds int and no text"):
        read_source([f"{folder}/part-0.parquet"], DataConfig(text_field="id"))


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        CorpusError, match=r"needs the package datasets; install it: pip install 'clearhead\[datasets\]'"
    ):
        list(find_rows(f"{folder}/part-0.parquet").documents(DataConfig()))


def test_a_dataset_of_the_hub_without_a_network_is_one_line(tmp_path: Path) -> None:
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "clearhead", "look", "hf:owner/stories:default:train"],
        capture_output=True,
        text=True,
        env=offline,
        check=False,
    )
    assert done.returncode == 2
    line = done.stderr.strip()
    assert len(line.splitlines()) == 1
    assert "'hf:owner/stories:default:train' cannot be had (" in line
    assert "check the name and the network" in line


def test_names_of_the_hub_say_configuration_and_split() -> None:
    assert find_rows("hf:owner/name").load == {"path": "owner/name", "name": None, "split": "train"}
    assert find_rows("hf:owner/name:test").load == {"path": "owner/name", "name": None, "split": "test"}
    assert find_rows("hf:owner/name:raw:test").load == {"path": "owner/name", "name": "raw", "split": "test"}
