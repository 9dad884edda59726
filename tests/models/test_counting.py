import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import EOT, V, ids_of, random_stream
from torch import Tensor

from clearhead.errors import CheckpointError
from clearhead.models import tally, windows
from clearhead.models.counting import count_levels
from clearhead.models.ngram import NgramLanguageModel
from clearhead.models.windows import Ids
from oracles.kneser_ney import KneserNeyOracle

ARRAYS = ("keys", "raw", "continuation")


@settings(max_examples=40, deadline=None)
@given(tokens=st.lists(st.integers(0, V - 1), max_size=60), eot_id=st.sampled_from([None, EOT]))
def test_counts_are_the_oracles(tokens: list[int], eot_id: int | None) -> None:
    model = NgramLanguageModel.fit(ids_of(tokens), V, 4, eot_id=eot_id)
    oracle = KneserNeyOracle(tokens, V, 4, eot_id)
    seen = {gram: (raw, oracle.continuation[gram]) for gram, raw in oracle.raw.items() if len(gram) < 4}
    spelled: list[tuple[int, ...]] = [()]
    found = {}
    for level in model.levels[:3]:
        spelled = [(*spelled[key // V], int(key % V)) for key in level.keys]
        found |= zip(spelled, zip(level.raw.tolist(), level.continuation.tolist(), strict=True), strict=True)
    assert {gram: counts for gram, counts in found.items() if counts[0]} == seen


def test_one_pass_of_several_stages_and_chunks_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(400, documents=True)
    at_once = NgramLanguageModel.fit(stream, V, 6, eot_id=EOT).state_dict()
    monkeypatch.setattr(windows.Windows, "most_digits", 2)
    for chunk in (7, 64):
        monkeypatch.setattr(tally, "CHUNK", chunk)
        in_pieces = NgramLanguageModel.fit(stream, V, 6, eot_id=EOT).state_dict()
        assert at_once.keys() == in_pieces.keys()
        assert all(torch.equal(at_once[name], in_pieces[name]) for name in at_once)


@pytest.mark.parametrize("documents", [False, True])
def test_threads_and_files_count_what_one_pass_counts(documents: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(3_000, documents=documents, vocab_size=9)
    eot_id = 8 if documents else None
    at_once = count_levels(stream, 9, 6, eot_id=eot_id, threads=1)
    monkeypatch.setattr(tally, "CHUNK", 200)
    monkeypatch.setattr(tally, "LEAST", 8)
    monkeypatch.setattr(tally, "HELD", 0)
    monkeypatch.setattr(windows.Windows, "most_digits", 2)
    files = Files([stream[:1_001], stream[1_001:1_004], stream[1_004:]])
    for threads in (1, 2, 3):
        for ids in (stream, files):
            levels = count_levels(ids, 9, 6, eot_id=eot_id, threads=threads)
            assert len(levels) == 6
            for level, other in zip(levels, at_once, strict=True):
                assert level.contexts == other.contexts
                for mine, theirs in ((getattr(level, name), getattr(other, name)) for name in ARRAYS):
                    assert mine.dtype == theirs.dtype
                    np.testing.assert_array_equal(mine, theirs)


def test_a_table_is_counted_in_ranges_that_together_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(4_000, documents=False, vocab_size=20)
    monkeypatch.setattr(tally, "LEAST", 8)
    monkeypatch.setattr(tally, "CHUNK", 500)
    with tally.Crew.of(2) as crew:
        growing = tally.Tally(windows.Windows(stream, 20, None), 4, 1 << 40, crew)
        for start in range(0, 4_000, 500):
            growing.add([windows.Windows(stream, 20, None).count(start, 500, 4)])
        assert len(growing.ranges) > 10, "nearly one for each first token"
        firsts = [set((part.table[0] // 21**3).tolist()) for part in growing.ranges]
        assert sum(map(len, firsts)) == len(set.union(*firsts)) == 20, "no two ranges begin alike"
        growing.finish()
        keys, counts = growing.split()[0]
    assert keys.tolist() == list(range(20))
    assert counts.tolist() == np.bincount(stream, minlength=20).tolist()


def test_orders_whose_windows_pass_63_bits_are_counted_all_the_same() -> None:
    stream = random_stream(300, documents=False, vocab_size=3) * 20_000
    model = NgramLanguageModel.fit(stream, 60_000, 7)
    assert len(model.levels[0]) == 60_000
    grams = Counter(tuple(stream[t : t + 7].tolist()) for t in range(294))
    assert model.levels[-1].raw.tolist() == [count for _, count in sorted(grams.items())]


def test_the_first_end_of_text_is_no_token_of_the_text() -> None:
    model = NgramLanguageModel.fit(ids_of([EOT, 0, 1]), V, 3, eot_id=EOT)
    assert model.levels[0].raw.tolist() == [1, 1, 0, 0, 0]
    assert int(model.levels[1].raw.sum()) == 2


class Files:
    """Ids that lie in several arrays, of which slices can be had."""

    def __init__(self, arrays: list[Ids]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return sum(map(len, self._arrays))

    def __getitem__(self, part: slice, /) -> Ids:
        return np.concatenate(self._arrays)[part]


def broken(name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    state = NgramLanguageModel.fit(random_stream(100, documents=False), V, 3).state_dict()
    tensors = {key: value.clone() for key, value in state.items() if key != name}
    return tensors if tensor is None else tensors | {name: tensor}


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("keys_2", None, "keys_2 is missing"),
        ("keys_9", torch.zeros(1), "keys_9 is unknown"),
        ("raw_1", torch.ones(3, dtype=torch.int32), r"vocab_size=3, not 5"),
        ("raw_2", torch.ones(3), "other types"),
        ("keys_2", torch.arange(100), "keys, "),
        ("keys_3", torch.zeros(0, dtype=torch.int64), "keys, "),
    ],
)
def test_a_broken_state_is_refused(name: str, tensor: Tensor | None, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        NgramLanguageModel.restore({"order": 3, "vocab_size": V}, broken(name, tensor))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("keys_2", lambda keys: keys.flip(0), "do not ascend"),
        ("keys_3", lambda keys: keys + V**3, "do not ascend within"),
        ("keys_3", lambda keys: keys - V**3, "do not ascend within"),
        ("raw_3", lambda counts: counts - counts, "level 3 has counts below 1"),
        ("continuation_1", lambda counts: -counts, "level 1 has counts below 0"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(name: str, change, reason: str) -> None:
    tensors = broken("", None)
    with pytest.raises(CheckpointError, match=reason):
        NgramLanguageModel.restore({"order": 3, "vocab_size": V}, tensors | {name: change(tensors[name])})


def test_memory_bounds_the_order() -> None:
    stream = random_stream(5_000, documents=False, vocab_size=20)
    full = NgramLanguageModel.fit(stream, 20, 8)
    sizes = np.cumsum([len(level) for level in full.levels])
    bounded = NgramLanguageModel.fit(stream, 20, 8, max_bytes=20 * int(sizes[3]))
    assert full.order == 8
    assert bounded.order == 4
    assert torch.equal(
        bounded(torch.tensor([[1, 2, 3, 4]])).logits, full.to_order(4)(torch.tensor([[1, 2, 3, 4]])).logits
    )
    assert NgramLanguageModel.fit(stream, 20, 8, max_bytes=0).order == 1


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_memory_bounds_the_order_in_every_stage(digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(2_000, documents=True, vocab_size=9)
    sizes = np.cumsum([len(level) for level in NgramLanguageModel.fit(stream, 9, 7, eot_id=8).levels])
    monkeypatch.setattr(windows.Windows, "most_digits", digits)
    monkeypatch.setattr(tally, "CHUNK", 128)
    for order, ngrams in enumerate(sizes, start=1):
        enough, short = 20 * int(ngrams), 20 * int(ngrams) - 20
        assert NgramLanguageModel.fit(stream, 9, 7, eot_id=8, max_bytes=enough).order == order
        assert NgramLanguageModel.fit(stream, 9, 7, eot_id=8, max_bytes=short).order == max(1, order - 1)


LARGE_TEXT = """
import resource, sys
import numpy as np
import torch
from clearhead.models.ngram import NgramLanguageModel
from clearhead.models.windows import Ids

ids = np.memmap(sys.argv[1], dtype=np.uint16, mode="r")
model = NgramLanguageModel.fit(ids, 27, 10)
bits = model.token_losses(ids[-200_000:]).mean()
print(model.order, sum(len(level) for level in model.levels), bits, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def zipf_text(path: Path, characters: int) -> None:
    """Words of random letters, drawn by Zipf's law, one space between: ids 0 (space) .. 26, written as uint16."""
    rng = np.random.default_rng(7)
    lengths = rng.poisson(4, 200_000) + 1
    words = [np.append(rng.integers(1, 27, n), 0).astype(np.uint16) for n in lengths]
    weights = 1 / np.arange(1, len(words) + 1)
    written = 0
    with path.open("wb") as out:
        while written < characters:
            drawn = rng.choice(len(words), 500_000, p=weights / weights.sum())
            block = np.concatenate([words[i] for i in drawn])[: characters - written]
            block.tofile(out)
            written += len(block)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read by getrusage")
def test_a_text_of_100_mb_is_counted_within_its_memory(tmp_path: Path) -> None:
    zipf_text(tmp_path / "ids", 100_000_000)
    done = subprocess.run(
        [sys.executable, "-c", LARGE_TEXT, str(tmp_path / "ids")], capture_output=True, text=True, check=True
    )
    order, ngrams, nats, peak = (float(value) for value in done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024
    assert peak * unit < 1.5e9
    assert 5 <= order <= 10
    assert ngrams * 20 <= 600_000_000
    assert nats < 2.0
