"""Counting beside KenLM: the harness measures what it says, and the two agree where KenLM is at hand."""

import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import POEM, ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="KenLM's programs are measured on Linux and macOS")

QUERY = "import sys; [print(f'{token}=1 1 -{token}', end='\\t') for token in sys.stdin.read().split()]"


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """An lmplz that writes nothing, and a query that gives token t the probability 10 ** -t."""
    for name, code in (("lmplz", ""), ("query", QUERY)):
        (tmp_path / name).write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path / "lmplz"


def test_says_that_lmplz_is_not_at_hand_and_runs_without() -> None:
    figures = import_module("count_models").measure(POEM * 29, [2], 1, None)
    assert figures["lmplz"] == "not at hand"
    assert [row["side"] for row in figures["sides"]] == ["clearhead, in process", "clearhead"]
    assert all("ratio" not in row for row in figures["sides"])
    assert 0 < figures["losses"][0]["clearhead_nats_per_token"] < math.log(figures["vocab_size"])


def test_reads_nats_of_all_tokens_but_the_first(stand_in: Path, tmp_path: Path) -> None:
    lmplz = import_module("lmplz")
    lmplz.write_tokens(np.array([7, 0, 12, 3]), tmp_path / "tokens")
    losses = lmplz.token_losses(stand_in, tmp_path / "arpa", tmp_path / "tokens")
    assert losses == pytest.approx([0, 12 * math.log(10), 3 * math.log(10)])


def test_writes_all_tokens_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lmplz = import_module("lmplz")
    monkeypatch.setattr(lmplz, "CHUNK", 3)
    lmplz.write_tokens(np.arange(10, dtype=np.uint16), tmp_path / "tokens")
    assert (tmp_path / "tokens").read_text(encoding="ascii").split() == [str(token) for token in range(10)]
    assert (tmp_path / "tokens").read_text(encoding="ascii").count("\n") == 1


def test_stops_when_the_two_do_not_estimate_the_same(stand_in: Path) -> None:
    with pytest.raises(SystemExit, match="do not estimate the same: order 2"):
        import_module("count_models").measure(POEM * 29, [2], 1, stand_in)


def test_ratio_is_the_median_over_rounds_of_neighbours() -> None:
    module = import_module("count_models")
    mine = [module.Cost(seconds, 1.0, 10.0) for seconds in (1.0, 4.0, 9.0)]
    theirs = [module.Cost(seconds, 1.0, 10.0) for seconds in (1.0, 1.0, 3.0)]
    row: dict[str, Any] = module._row(5, "side", mine, theirs)
    assert (row["seconds"], row["ratio"], row["peak_megabytes"]) == (4.0, 3.0, 10)


def test_peak_is_that_of_the_command_alone() -> None:
    held = b"x" * 300_000_000
    measured = import_module("lmplz").cost([sys.executable, "-S", "-c", "b'x' * 100_000_000"])
    assert len(held) / 1e6 > measured.peak_megabytes > 100


def test_a_command_that_fails_ends_the_measurement() -> None:
    with pytest.raises(SystemExit, match="too high an order"):
        import_module("lmplz").cost([sys.executable, "-S", "-c", "raise SystemExit('too high an order')"])


def test_python_sources_are_joined_in_order_of_path_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("b/two.py", "2" * 60), ("a/one.py", "1" * 60), ("a/data.txt", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    module = import_module("count_models")
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path))
    assert module.python_sources(1e-4) == "1" * 60 + "2" * 40
    with pytest.raises(SystemExit, match="too few"):
        module.python_sources(1e-3)
