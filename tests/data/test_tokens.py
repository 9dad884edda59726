import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead import files
from clearhead.data import store
from clearhead.data.corpus import Corpus, split
from clearhead.data.sources import Source
from clearhead.data.tokens import SPLITS, TokenDataset
from clearhead.errors import CorpusError, StorageError, TokenizerError
from clearhead.tokenizers.char import CharTokenizer
from clearhead.tokenizers.word import WordTokenizer

TEXT = "The wind went over the hill, and the hill was still.\n" * 100
MANY = tuple(f"document {i} of the wind and the hill" for i in range(300))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


def corpus_of(*documents: str, name: str = "test") -> Corpus:
    return split(Source(name, documents, ()))


def tokenizer_of(corpus: Corpus, unk: bool = False) -> CharTokenizer:
    return CharTokenizer.train(corpus.fit, eot=corpus.separated, unk=unk)


def prepared(*documents: str) -> tuple[Corpus, CharTokenizer, TokenDataset]:
    corpus = corpus_of(*documents)
    tokenizer = tokenizer_of(corpus)
    return corpus, tokenizer, TokenDataset.prepare(corpus, tokenizer)


def test_one_document_is_its_ids_and_nothing_else():
    corpus, tokenizer, data = prepared(TEXT)
    for name, documents in (("train", corpus.fit), ("dev", corpus.dev), ("val", corpus.val), ("counts", corpus.train)):
        assert data.ids(name).tolist() == tokenizer.encode(documents[0]).tolist()
    assert data.ids("train").dtype == np.uint16
    assert not data.ids("train").flags.writeable
    assert data.meta.dev_start == len(corpus.fit[0])


def test_documents_stand_between_ends_of_text():
    corpus, tokenizer, data = prepared(*MANY)
    eot = tokenizer.eot_id
    assert eot is not None

    def stream(documents: tuple[str, ...]) -> list[int | None]:
        return [eot, *(i for document in documents for i in (*tokenizer.encode(document).tolist(), eot))]

    assert data.ids("train").tolist() == stream(corpus.fit)
    assert data.ids("dev").tolist() == stream(corpus.dev)
    assert data.ids("val").tolist() == stream(corpus.val)
    assert data.ids("counts").tolist() == stream(corpus.fit + corpus.dev)


@pytest.mark.parametrize("documents", [("a short text",), ("a short text", "and another")])
def test_without_dev_and_val_their_streams_are_empty(documents):
    _, _, data = prepared(*documents)
    assert len(data.ids("dev")) == len(data.ids("val")) == 0
    assert data.ids("train").tolist() == data.ids("counts").tolist()
    with pytest.raises(CorpusError, match="val split has 0 tokens"):
        data.get_batch("val", 0, batch_size=1, block_size=1, seed=1)
    with pytest.raises(CorpusError, match="dev split has 0 tokens"):
        list(data.windows("dev", 4, 4))


def test_characters_and_hidden_characters_are_counted_by_split():
    corpus = corpus_of(TEXT + "§" * 10)
    data = TokenDataset.prepare(corpus, tokenizer_of(corpus, unk=True))
    lengths = {"train": corpus.fit, "dev": corpus.dev, "val": corpus.val, "counts": corpus.train}
    assert data.meta.characters == {name: sum(map(len, documents)) for name, documents in lengths.items()}
    assert data.meta.hidden == {"train": 0, "dev": 0, "val": 10, "counts": 0}
    words = TokenDataset.prepare(corpus, WordTokenizer.train(corpus.fit, vocab_size=8))
    assert words.meta.hidden["val"] > 10
    assert words.meta.hidden["counts"] == words.meta.hidden["train"] + words.meta.hidden["dev"] > 0


def test_batches_are_pure_and_shifted_by_one():
    _, _, data = prepared(TEXT)
    x, y = data.get_batch("train", 5, batch_size=4, block_size=8, seed=1)
    assert x.shape == y.shape == (4, 8)
    assert torch.equal(x[:, 1:], y[:, :-1])
    data.get_batch("val", 9, batch_size=3, block_size=8, seed=1, stream="estimate")
    again, _ = data.get_batch("train", 5, batch_size=4, block_size=8, seed=1)
    assert torch.equal(x, again)


@pytest.mark.parametrize("change", [{"seed": 2}, {"stream": "estimate"}, {"step": 6}])
def test_batches_differ_by_seed_stream_and_step(change):
    _, _, data = prepared(TEXT)
    asked: dict[str, Any] = {"step": 5, "batch_size": 4, "block_size": 8, "seed": 1}
    x, _ = data.get_batch("train", **asked)
    other, _ = data.get_batch("train", **(asked | change))
    assert not torch.equal(x, other)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 6), slice(1, None, 2), slice(0, 0)])
def test_a_ranks_rows_are_those_of_the_whole_batch(rows):
    _, _, data = prepared(TEXT)
    whole = data.get_batch("train", 3, batch_size=6, block_size=5, seed=7)
    share = data.get_batch("train", 3, batch_size=6, block_size=5, seed=7, rows=rows)
    assert torch.equal(share[0], whole[0][rows])
    assert torch.equal(share[1], whole[1][rows])


def test_a_block_that_does_not_fit_is_refused_and_fits_says_what_does():
    _, _, data = prepared("hello world")
    assert data.fits(64) == 10
    assert data.fits(3) == 3
    x, _ = data.get_batch("train", 0, batch_size=2, block_size=data.fits(64), seed=1)
    assert x.shape == (2, 10)
    with pytest.raises(CorpusError, match="block_size=11 does not fit the 11 tokens of the train split; try 10"):
        data.get_batch("train", 0, batch_size=2, block_size=11, seed=1)


def test_windows_cover_the_validation_text():
    _, _, data = prepared(TEXT)
    targets = torch.cat([y.flatten() for _, y in data.windows("val", 16, 3)])
    assert targets.tolist() == data.ids("val")[1:].tolist()


def test_an_unknown_split_gets_a_suggestion():
    _, _, data = prepared(TEXT)
    with pytest.raises(CorpusError, match="did you mean 'train'"):
        data.ids("trian")
    assert all(len(data.ids(name)) for name in SPLITS)


def test_ids_are_written_once_and_found_by_fingerprint(cache, monkeypatch):
    corpus, tokenizer, first = prepared(TEXT)
    monkeypatch.setattr(CharTokenizer, "encode", lambda *_: pytest.fail("encoded again"))
    again = TokenDataset.prepare(corpus_of(TEXT, name="another name"), tokenizer)
    assert again.ids("train").tolist() == first.ids("train").tolist()
    assert again.meta.name == "another name"
    found = TokenDataset.find(corpus.sha256, tokenizer.fingerprint)
    assert found is not None
    assert found.meta == first.meta
    assert [folder.name for folder in cache.iterdir()] == [f"{corpus.sha256[:16]}-{tokenizer.fingerprint[:16]}"]


def test_what_is_not_there_is_not_found():
    corpus, tokenizer, _ = prepared(TEXT)
    assert TokenDataset.find(corpus.sha256, "0" * 64) is None
    # The folder's name holds 16 digits of each fingerprint; the rest counts as well.
    assert TokenDataset.find(corpus.sha256, tokenizer.fingerprint[:-1] + "x") is None


def damage_meta(folder: Path, **changes: object) -> None:
    meta = json.loads((folder / store.META).read_text())
    (folder / store.META).write_text(json.dumps(meta | changes))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / store.TRAIN).write_bytes(b"short"),
        lambda folder: (folder / store.VAL).unlink(),
        lambda folder: (folder / store.META).unlink(),
        lambda folder: (folder / store.META).write_text('{"name": "te'),
        lambda folder: (folder / store.META).write_text("[1]"),
        lambda folder: damage_meta(folder, format=0),
        lambda folder: damage_meta(folder, dtype="nonsense"),
        lambda folder: damage_meta(folder, tokens={}),
        lambda folder: damage_meta(folder, tokens=None),
        lambda folder: damage_meta(folder, val_sha256="0" * 64),
        lambda folder: damage_meta(folder, surplus=1),
        lambda folder: (shutil.rmtree(folder), folder.mkdir()),
    ],
)
def test_damaged_ids_are_written_again(cache, damage):
    corpus, tokenizer, data = prepared(TEXT)
    expected = data.ids("counts").tolist()
    damage(next(cache.iterdir()))
    again = TokenDataset.prepare(corpus, tokenizer)
    assert again.ids("counts").tolist() == expected
    assert again.meta == data.meta
    assert len(list(cache.iterdir())) == 1


def test_a_process_that_was_faster_wins(cache, monkeypatch):
    corpus = corpus_of(TEXT)
    tokenizer = tokenizer_of(corpus)
    write = store._write_into

    def slowly(folder: Path, *arguments: object) -> object:
        monkeypatch.setattr(store, "_write_into", write)
        TokenDataset.prepare(corpus, tokenizer)  # the other process
        return write(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_write_into", slowly)
    data = TokenDataset.prepare(corpus, tokenizer)
    assert data.ids("train").tolist() == tokenizer.encode(corpus.fit[0]).tolist()
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_a_disk_that_refuses_leaves_nothing_behind(cache, monkeypatch, error):
    def refuse(*_: object) -> None:
        raise error

    corpus = corpus_of(TEXT)
    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StorageError, match=error.strerror):
        TokenDataset.prepare(corpus, tokenizer_of(corpus))
    assert list(cache.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(cache, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    corpus = corpus_of(TEXT)
    tokenizer = tokenizer_of(corpus)
    monkeypatch.setattr(CharTokenizer, "encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        TokenDataset.prepare(corpus, tokenizer)
    assert list(cache.iterdir()) == []


def test_a_tokenizer_that_does_not_know_the_text_is_refused(cache):
    corpus = corpus_of(TEXT + "§" * 10)
    with pytest.raises(TokenizerError, match="U\\+00A7"):
        TokenDataset.prepare(corpus, tokenizer_of(corpus))
    assert list(cache.iterdir()) == []
    with pytest.raises(TokenizerError, match="no end-of-text"):
        TokenDataset.prepare(corpus_of(*MANY), CharTokenizer.train(MANY))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_batches_gathered_where_the_tokens_were_placed_are_the_same(dtype: type):
    _, _, data = prepared(TEXT)
    data._ids = {name: ids.astype(dtype) for name, ids in data._ids.items()}

    def batch(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        return data.get_batch(split, 4, batch_size=5, block_size=7, seed=3)

    before = {split: batch(split) for split in ("train", "dev", "val")}
    data.place(torch.device("cpu"), room=4 * (len(data.ids("val")) + len(data.ids("dev"))))
    assert set(data._placed) == {"dev", "val"}  # the longest does not fit any more
    for name, (x, y) in before.items():
        placed_x, placed_y = batch(name)
        assert torch.equal(placed_x, x)
        assert torch.equal(placed_y, y)
        assert placed_x.dtype == torch.int64
        assert placed_x.is_contiguous()
