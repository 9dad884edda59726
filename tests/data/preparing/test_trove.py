"""What a datatrove pipeline writes is what the reader trains on."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clearhead.cli.main import main
from clearhead.data.corpus import rank
from clearhead.data.shards import ShardDataset
from clearhead.errors import CorpusError, TokenizerError
from conftest import ROOT

if importlib.util.find_spec("datatrove") is None:
    pytest.skip("datatrove is not installed: pip install 'clearhead[datatrove]'", allow_module_level=True)

from clearhead.data.preparing.trove import ManifestWriter, ShardWriter

TEXTS = [f"the {i}th fox found the {i * 7 % 31}th box and {'sang ' * (i % 5)}on" for i in range(120)]
SMALL = "--max_iters 3 --n_embd 16 --n_layer 1 --n_head 2 --block_size 16 --batch_size 4 --eval_iters 1".split()  # noqa: SIM905


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Four files of JSON Lines."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(4):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[30 * number : 30 * number + 30])
        (folder / f"{number}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def tokenizer(texts: Path, tmp_path: Path) -> Path:
    """That of a folder prepared from the same texts."""
    out = tmp_path / "reference"
    assert main(["prepare", str(texts), "--out", str(out), "--workers", "1"]) == 0
    return out / "tokenizer.json"


def documents(data: ShardDataset, split: str) -> list[str]:
    """The texts of a split, in order."""
    ids = np.asarray(data.ids(split))
    eot = data.tokenizer.eot_id
    assert ids[0] == ids[-1] == eot
    return [data.tokenizer.decode(part[1:]) for part in np.split(ids, np.flatnonzero(ids == eot))[1:-1]]


def test_a_pipeline_writes_a_folder_that_is_trained_on(texts: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    script = [sys.executable, str(ROOT / "examples" / "datatrove_prepare.py"), str(texts), str(out)]
    asked = ["--tokenizer", str(tokenizer), "--tasks", "4", "--workers", "2", "--val", "0.2", "--dev", "0.1"]
    subprocess.run([*script, *asked], check=True, capture_output=True, cwd=tmp_path)
    data = ShardDataset.open(out)
    splits = {split: documents(data, split) for split in ("train", "dev", "val")}
    assert sorted(text for found in splits.values() for text in found) == sorted(TEXTS)
    assert all(int.from_bytes(rank(text)[:8], "big") < round(0.2 * 2**64) for text in splits["val"])
    assert 12 <= len(splits["val"]) <= 36
    assert len(data.manifest.of("train")) == 4
    for shard in data.manifest.shards:
        assert (out / shard.file).stat().st_size == 2 * shard.tokens
    assert not (out / ".work").exists()
    assert main(["prepare", "--out", str(out)]) == 0, "every byte is what its manifest says"
    assert main(["train", str(out), "--out", str(tmp_path / "runs"), *SMALL]) == 0


class Text:
    """A document as datatrove has it, as far as a writer looks."""

    def __init__(self, text: str) -> None:
        self.text, self.metadata = text, {}


def test_the_manifest_waits_for_every_task(tokenizer: Path, tmp_path: Path) -> None:
    writer = ShardWriter(str(tmp_path / "out"), str(tokenizer), val=0.2, dev=0.1)
    with pytest.raises(CorpusError, match="run ShardWriter first"):
        ManifestWriter(writer).run()
    writer.run([Text(text) for text in TEXTS[:60]], 0, 2)
    with pytest.raises(CorpusError, match=r"1 of 2 tasks have not written their shard in .* \(such as 1\)"):
        ManifestWriter(writer).run()
    writer.run([Text(text) for text in TEXTS[60:]], 1, 2)
    ManifestWriter(writer).run(None, 1, 2)
    assert not (tmp_path / "out" / "manifest.json").exists(), "one task alone writes it"
    ManifestWriter(writer).run()
    data = ShardDataset.open(tmp_path / "out")
    found = [text for split in ("train", "dev", "val") for text in documents(data, split)]
    assert sorted(found) == sorted(TEXTS)


def test_a_tokenizer_without_an_end_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(TEXTS[0] * 40, encoding="utf-8")
    assert main(["prepare", str(tmp_path / "one.txt"), "--out", str(tmp_path / "one"), "--workers", "1"]) == 0
    writer = ShardWriter(str(tmp_path / "out"), str(tmp_path / "one" / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="no end-of-text"):
        writer.run([Text("a")], 0, 1)
