"""The whole path on a text of 100 MB: prepared, counted, trained and judged within 1.5 GB of resident memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHARACTERS = 100_000_000
LIMIT = 1.5e9

RUN = """
import resource, sys
from clearhead.cli.main import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def zipf_text(path: Path) -> None:
    """Words of a heavy-tailed vocabulary, a million at a time."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(rng.choice(letters, size=rng.integers(2, 11))) for _ in range(50_000)]
    with path.open("w", encoding="ascii") as file:
        while file.tell() < CHARACTERS:
            ranks = np.minimum(rng.zipf(1.2, size=1_000_000), len(words)) - 1
            file.write(" ".join([words[rank] for rank in ranks.tolist()]) + "\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read by getrusage")
def test_a_text_of_100_mb_trains_within_its_memory(tmp_path: Path) -> None:
    zipf_text(tmp_path / "large.txt")
    small = "--n_embd 16 --n_head 2 --n_layer 1 --max_iters 20 --eval_iters 2 --json".split()  # noqa: SIM905
    argv = ["train", str(tmp_path / "large.txt"), "--out", str(tmp_path / "runs"), *small]
    done = subprocess.run([sys.executable, "-c", RUN, *argv], capture_output=True, text=True, check=True)
    peak = int(done.stderr.split()[-1]) * (1 if sys.platform == "darwin" else 1024)
    assert peak < LIMIT
    document = json.loads(done.stdout)
    rungs = {rung["name"]: rung["nats_per_token"] for rung in document["ladder"]["rungs"]}
    assert document["ladder"]["val_characters"] > 9_000_000
    assert rungs["ngram"] < rungs["bigram"] < rungs["unigram"] < rungs["uniform"]
