"""A text of 4 GB is prepared and drawn from within 1 GB of memory, all processes together."""

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from conftest import POEM, ROOT

SIZE, LIMIT, ROOM = 4e9, 1e9, 14e9

DRAW = """
import sys
from pathlib import Path
from clearhead.data.shards import ShardDataset
from clearhead.data.tokens import SPLITS

data = ShardDataset.open(Path(sys.argv[1]))
assert len(data.ids("train")) > 3.9e9
for step in range(500):
    x, y = data.get_batch("train", step, batch_size=64, block_size=256, seed=1)
    assert x.shape == (64, 256) and bool((x[:, 1:] == y[:, :-1]).all())
counted = sum(len(piece) for piece in data.pieces("train"))
assert counted == len(data.ids("train"))
told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(told["RssAnon"].split()[0]) * 1024)
"""
"""Mapped pages belong to the system, which takes them back at will: what counts is what is the process's own."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_text_of_4_gb_within_1_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip(f"{ROOM / 1e9:.0f} GB of disk are wanted for a text of 4 GB and its shards")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    shards = import_module("shards")
    try:
        text = shards.repeated((POEM * 300 + "Émile?\n").encode(), tmp_path / "large.txt", SIZE)
        made = shards.prepared(str(text), "--out", str(tmp_path / "large"), "--workers", "2")
        assert made.peak < LIMIT
        assert made.told["splits"]["val"]["characters"] == 10_000_000
        assert sum(split["characters"] for split in made.told["splits"].values()) > 3.9e9
        argv = [sys.executable, "-c", DRAW, str(tmp_path / "large")]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert int(told) < LIMIT
    finally:
        shutil.rmtree(tmp_path)
