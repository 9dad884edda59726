"""Reading a prepared folder: one stream out of many files, checked, moved, trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead import api
from clearhead.config import RunConfig
from clearhead.data.joined import JoinedIds
from clearhead.data.manifest import MANIFEST, read_manifest
from clearhead.data.overview import overview
from clearhead.data.prepare import prepare
from clearhead.data.preparing.sharding import Order, make_shards, verify
from clearhead.data.shards import ShardDataset
from clearhead.data.sources import read_source
from clearhead.errors import ClearheadError, ConfigError, CorpusError
from clearhead.runs.corpus import open_data
from clearhead.tokenizers.byte import ByteTokenizer

SMALL = {
    "max_iters": 12,
    "eval_interval": 6,
    "save_interval": 6,
    "eval_iters": 2,
    "n_embd": 16,
    "n_head": 2,
    "n_layer": 1,
    "block_size": 16,
    "batch_size": 4,
    "device": "cpu",
}


@pytest.fixture
def folder(poem: Path, tmp_path: Path) -> Path:
    """The poem in shards of a thousand tokens."""
    order = Order(RunConfig().data, RunConfig().tokenizer, 1_000)
    make_shards([str(poem)], tmp_path / "shards", order, lambda progress: None)
    return tmp_path / "shards"


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5).filter(any),
    st.data(),
)
def test_joined_ids_are_one_array(arrays, data):
    joined = JoinedIds([np.array(array, dtype=np.uint16) for array in arrays])
    whole = np.array([token for array in arrays for token in array], dtype=np.uint16)
    start, stop = (data.draw(st.none() | st.integers(-35, 35)) for _ in range(2))
    step = data.draw(st.sampled_from([None, 1, 2, -1]))
    index = data.draw(st.lists(st.integers(-len(whole), len(whole) - 1), max_size=8))
    assert (len(joined), joined.size, joined.shape, joined.nbytes) == (
        whole.size,
        whole.size,
        whole.shape,
        whole.nbytes,
    )
    assert joined[start:stop:step].tolist() == whole[start:stop:step].tolist()
    assert joined[start:stop].dtype == whole.dtype
    assert joined[np.array(index, dtype=int)].tolist() == whole[np.array(index, dtype=int)].tolist()
    assert joined[np.array([index, index], dtype=int)].shape == (2, len(index))
    assert (joined.min(), joined.max(), int(joined[-1])) == (whole.min(), whole.max(), whole[-1])
    assert np.concatenate(list(joined.pieces(2))).tolist() == np.asarray(joined).tolist() == whole.tolist()
    starts = np.arange(len(whole) - 1)
    if len(starts):
        assert joined.rows(starts, 2).tolist() == whole[starts[:, None] + np.arange(2)].tolist()
    with pytest.raises(IndexError):
        joined[len(whole)]


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("clearhead.data.joined.MOST_AT_ONCE", 5)
    joined = JoinedIds([np.arange(4), np.arange(4)])
    assert joined[1:6].tolist() == [1, 2, 3, 0, 1]
    for ask in (
        lambda: joined[:],
        lambda: np.asarray(joined),
        lambda: joined[np.arange(6)],
        lambda: joined.astype(int),
    ):
        with pytest.raises(CorpusError, match="tokens in memory at once"):
            ask()


def test_batches_and_windows_are_those_of_the_text(folder, poem):
    shards, memory = ShardDataset.open(folder), prepare(RunConfig(), [str(poem)]).data
    assert isinstance(shards.ids("train"), JoinedIds)
    assert len(shards.manifest.of("train")) > 5
    for split in ("train", "dev", "val"):
        for step in range(5):
            pair = (data.get_batch(split, step, batch_size=7, block_size=40, seed=3) for data in (shards, memory))
            ours, theirs = pair
            assert all(bool((a == b).all()) for a, b in zip(ours, theirs, strict=True))
        ours, theirs = (list(data.windows(split, 30, 4)) for data in (shards, memory))
        assert len(ours) == len(theirs)
        assert all(
            bool((a == b).all())
            for one, other in zip(ours, theirs, strict=True)
            for a, b in zip(one, other, strict=True)
        )
    assert [len(piece) for piece in memory.pieces("val", 400)] == [400, 400, 140]
    assert np.asarray(shards.counted("train")).tolist() == memory.counted("train").tolist()


def change(path: Path, at: int = 10) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def rewrite(folder: Path, **values: object) -> None:
    told = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**told, **values}))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing shard": (lambda f: (f / "train-00003.bin").unlink(), r"train-00003.bin cannot be found .*restore it"),
    "missing index": (lambda f: (f / "val-00000.docs").unlink(), r"val-00000.docs cannot be found"),
    "short shard": (lambda f: (f / "train-00002.bin").write_bytes(b"12"), r"has 2 bytes and should have [\d,]+"),
    "manifest gone": (lambda f: (f / MANIFEST).unlink(), r"has no manifest.json"),
    "manifest torn": (lambda f: (f / MANIFEST).write_text('{"form'), r"manifest.json .*format|cannot be read"),
    "manifest changed": (lambda f: rewrite(f, name="other"), r"has changed since it was written"),
    "format": (lambda f: rewrite(f, format="clearhead shards 9"), r"has the format 'clearhead shards 9'"),
    "tokenizer gone": (lambda f: (f / "tokenizer.json").unlink(), r"has lost its tokenizer"),
    "another tokenizer": (
        lambda f: (f / "tokenizer.json").write_text(json.dumps(ByteTokenizer().to_dict())),
        r"tokenizer.json has changed since the shards were written",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_or_changed_is_one_clear_line(folder, fault):
    harm, reason = FAULTS[fault]
    harm(folder)
    with pytest.raises(CorpusError, match=reason) as refused:
        ShardDataset.open(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", ["train-00004.bin", "dev-00000.bin", "train-00000.docs"])
def test_changed_bytes_are_found_when_all_are_read(folder, file):
    assert verify(folder, lambda progress: None) == read_manifest(folder)
    change(folder / file, 3)
    ShardDataset.open(folder)  # sizes are as they were
    with pytest.raises(CorpusError, match=f"{file} has changed since it was written"):
        verify(folder, lambda progress: None)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(folder):
    told = json.loads((folder / MANIFEST).read_text())
    told["shards"][0]["file"] = "../secret.bin"
    rewrite(folder, shards=told["shards"])
    with pytest.raises(CorpusError, match="has changed"):
        read_manifest(folder)


def trained(text: Path, out: Path, **settings: object) -> api.Run:
    return api.train(str(text), out=out, name="run", progress=False, **{**SMALL, **settings})


def weights(run: api.Run) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in run.model.state_dict().values()]


def test_training_on_a_folder_is_training_on_its_text(folder, poem, tmp_path):
    ours, theirs = trained(folder, tmp_path / "a"), trained(poem, tmp_path / "b")
    assert all((a == b).all() for a, b in zip(weights(ours), weights(theirs), strict=True))
    ours_rungs, theirs_rungs = ([rung.nats_per_token for rung in run.ladder().rungs] for run in (ours, theirs))
    assert ours_rungs == theirs_rungs
    assert ours.directory.read_corpus()["prepared"] is True
    assert api.compare(ours.path, theirs.path).better is None, "the same validation text, and the same losses"
    assert (
        overview(prepare(RunConfig(), [str(folder)]), ours.config.train)["split"]
        == (overview(prepare(RunConfig(), [str(poem)]), ours.config.train)["split"])
    )


def test_resuming_on_a_folder_is_bit_exact(folder, tmp_path):
    whole = trained(folder, tmp_path / "whole", max_iters=12, decay_iters=12)
    part = trained(folder, tmp_path / "part", max_iters=12, decay_iters=12)
    shutil.rmtree(part.directory.checkpoint(12))
    resumed = api.resume(part.path, progress=False)
    assert all((a == b).all() for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_run_finds_its_folder_again_or_says_what_is_wrong(folder, poem, tmp_path):
    run = trained(folder, tmp_path / "runs")
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(CorpusError, match=r"prepared folder of run run is not at .*shards; put it back"):
        open_data(run.directory)
    folder.symlink_to(moved)
    assert len(open_data(run.directory).ids("val")) == 940
    folder.unlink()
    order = Order(RunConfig().data, RunConfig().tokenizer, 1_000)
    other = tmp_path / "other.txt"
    other.write_text(poem.read_text().replace("hill", "dale"))
    make_shards([str(other)], folder, order, lambda progress: None)
    with pytest.raises(CorpusError, match=r"prepared with another tokenizer|holds another text"):
        open_data(run.directory)


def test_what_was_prepared_otherwise_is_refused(folder, poem, tmp_path):
    for settings, reason in (
        ({"tokenizer": "bpe"}, "tokenizer=bpe, but .* was prepared with tokenizer=char"),
        ({"lines": True}, "lines=True, but .* was prepared with lines=False"),
    ):
        with pytest.raises(ConfigError, match=reason):
            prepare(RunConfig().with_settings(settings), [str(folder)])
    with pytest.raises(CorpusError, match="is trained on alone"):
        prepare(RunConfig(), [str(folder), str(poem)])
    with pytest.raises(CorpusError, match="prepared with another tokenizer"):
        ShardDataset.open(folder, ByteTokenizer())
    run = trained(poem, tmp_path / "runs", tokenizer="byte")
    with pytest.raises(CorpusError, match="prepared with another tokenizer"):
        api.train(str(folder), init_from=run.path, out=tmp_path / "runs", name="next", progress=False, max_iters=2)


def test_settings_of_the_folder_are_the_runs(poem, tmp_path):
    order = Order(RunConfig().data, RunConfig().with_settings({"tokenizer": "bpe", "vocab_size": 300}).tokenizer, 2_000)
    make_shards([str(poem)], tmp_path / "bpe", order, lambda progress: None)
    run = trained(tmp_path / "bpe", tmp_path / "runs")
    assert (run.config.tokenizer.tokenizer, run.config.tokenizer.vocab_size) == ("bpe", 300)
    assert run.tokenizer.vocab_size == 300
    assert run.generate("The", max_new_tokens=5)


def test_what_needs_the_text_says_so(folder):
    with pytest.raises(ClearheadError, match="tokens alone"):
        _ = prepare(RunConfig(), [str(folder)]).corpus
    with pytest.raises(CorpusError, match="is a prepared folder"):
        read_source([str(folder)], RunConfig().data)
