"""Several sources with weights: what is drawn, that it is drawn again, and what each source's loss is."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.cli.main import main
from clearhead.config import UNKNOWN_BITS, RunConfig
from clearhead.data.batches import weighted_offsets
from clearhead.data.shards import ShardDataset
from clearhead.errors import CorpusError
from clearhead.evaluation.by_source import losses_by_source
from clearhead.evaluation.loss import split_loss
from clearhead.models.ngram import NgramLanguageModel
from clearhead.runs.checkpoint import load_checkpoint
from clearhead.training.events import Stepped
from clearhead.training.job import new_job, resume_job
from clearhead.training.running import run_job

SMALL = "--n_embd 16 --n_layer 1 --n_head 2 --block_size 16 --batch_size 4 --eval_iters 1".split()  # noqa: SIM905
DIGITS = set("0123456789")


def write_sources(folder: Path) -> list[str]:
    """Numbers, and as many documents of letters that are ten times as long: what was drawn can be seen."""
    rng = np.random.default_rng(0)
    digits = ["".join(map(str, rng.integers(0, 10, 30))) for _ in range(60)]
    letters = ["".join(map(chr, rng.integers(97, 107, 300))) for _ in range(60)]
    for name, texts in (("digits.jsonl", digits), ("letters.jsonl", letters)):
        (folder / name).write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return [str(folder / "digits.jsonl"), str(folder / "letters.jsonl")]


def prepare(folder: Path, *flags: str, out: str = "prepared") -> Path:
    argv = ["prepare", *write_sources(folder), "--out", str(folder / out), "--workers", "1", *flags]
    assert main(argv) == 0
    return folder / out


@pytest.fixture
def weighted(tmp_path: Path) -> ShardDataset:
    return ShardDataset.open(prepare(tmp_path, "--weights", "3", "1", "--shard-tokens", "5000"))


def drawn(data: ShardDataset, split: str, steps: int, rows: int = 64, size: int = 20) -> np.ndarray:
    """(steps, B) whether each sample has digits; where weights draw, no window crosses from one source to the other."""
    found = []
    for step in range(steps):
        x, y = data.get_batch(split, step, batch_size=rows, block_size=size, seed=7)
        texts = [data.tokenizer.decode(torch.cat([a, b[-1:]]).tolist()) for a, b in zip(x, y, strict=True)]
        plain = [set(text) for text in texts]
        assert split == "val" or all(characters <= DIGITS or not characters & DIGITS for characters in plain)
        found.append([bool(characters & DIGITS) for characters in plain])
    return np.array(found)


def test_sources_are_drawn_by_their_weights(weighted: ShardDataset) -> None:
    lengths = [end - begin for begin, end in weighted.manifest.spans("train")]
    assert lengths[1] > 7 * lengths[0]
    share = drawn(weighted, "train", 100).mean()
    assert abs(share - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 6_400), "four standard deviations"
    assert abs(drawn(weighted, "dev", 50).mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 3_200)
    assert drawn(weighted, "val", 50).mean() < 0.25, "what judges is drawn as it is"


def test_without_weights_sources_are_drawn_by_their_size(tmp_path: Path) -> None:
    data = ShardDataset.open(prepare(tmp_path))
    assert data.manifest.shares == ()
    x, _ = data.get_batch("train", 0, batch_size=640, block_size=8, seed=7)
    found = [bool(set(data.tokenizer.decode(row.tolist())) & DIGITS) for row in x]
    assert np.mean(found) < 0.2


def test_places_in_a_source_are_uniform_and_rows_are_their_own() -> None:
    spans, shares = [(100, 200), (200, 1_200)], [0.5, 0.5]
    found = np.concatenate([weighted_offsets((1, 2), step, 50, spans, shares) for step in range(400)])
    first, second = found[found < 200], found[found >= 200]
    for part, (begin, end) in ((first, spans[0]), (second, spans[1])):
        counts = np.bincount((part - begin) * 10 // (end - begin), minlength=10)
        expected = len(part) / 10
        assert ((counts - expected) ** 2 / expected).sum() < 27.9, "chi squared of 9 degrees, one in a thousand"
    assert (
        weighted_offsets((1, 2), 9, 50, spans, shares)[:7].tolist()
        == weighted_offsets((1, 2), 9, 7, spans, shares).tolist()
    )


def test_batches_are_the_same_again_and_in_every_rank(weighted: ShardDataset, tmp_path: Path) -> None:
    again = ShardDataset.open(weighted.folder)
    for step in (0, 5, 999):
        batch = partial(ShardDataset.get_batch, split="train", step=step, batch_size=12, block_size=16, seed=3)
        whole, other = batch(weighted), batch(again)
        parts = [batch(again, rows=rows) for rows in (slice(0, 5), slice(5, 12))]
        for mine, theirs, ranks in zip(whole, other, zip(*parts, strict=True), strict=True):
            assert torch.equal(mine, theirs)
            assert torch.equal(mine, torch.cat(ranks))


def test_a_resumed_run_ends_as_one_that_went_through(weighted: ShardDataset, tmp_path: Path) -> None:
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 1, "block_size": 16, "batch_size": 4, "eval_iters": 1}
    config = RunConfig().with_settings({**sizes, "max_iters": 12, "save_interval": 4, "device": "cpu"})
    whole, cut = (
        new_job(config, [str(weighted.folder)], out=tmp_path / "runs", name=name) for name in ("whole", "cut")
    )
    run_job(whole)
    for event in cut.events():
        if isinstance(event, Stepped) and event.step == 7:
            break
    cut.release()
    run_job(resume_job(cut.run))
    ends = [load_checkpoint(job.run, 12).model.state_dict() for job in (whole, cut)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_validation_losses_by_source_make_up_the_whole(weighted: ShardDataset) -> None:
    tokenizer = weighted.tokenizer
    ids = np.asarray(weighted.ids("train"))
    model = NgramLanguageModel.fit(ids, tokenizer.vocab_size, 2, eot_id=tokenizer.eot_id)
    found, whole = losses_by_source(model, weighted), split_loss(model, weighted, "val")
    assert list(found) == ["digits.jsonl", "letters.jsonl"]
    assert sum(loss.tokens for loss in found.values()) == whole.tokens
    assert sum(loss.characters for loss in found.values()) == weighted.meta.characters["val"]
    nats = sum(loss.nats_per_token * loss.tokens for loss in found.values())
    assert nats == pytest.approx(whole.nats_per_token * whole.tokens, rel=1e-12)
    bits = sum(loss.bits_per_char * loss.characters for loss in found.values())
    assert bits == pytest.approx(nats / math.log(2) + UNKNOWN_BITS * weighted.meta.hidden["val"])
    (begin, end), _ = weighted.manifest.spans("val")
    alone = model.token_losses(np.asarray(weighted.ids("val"))[begin:end])
    assert found["digits.jsonl"].nats_per_token == pytest.approx(alone.mean(), rel=1e-6)


def test_train_tells_the_loss_of_each_source(
    weighted: ShardDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    argv = ["train", str(weighted.folder), "--out", str(tmp_path / "runs"), "--max_iters", "3", *SMALL]
    assert main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    tokens = sum(source["tokens"] for source in told["sources"].values())
    nats = sum(source["nats_per_token"] * source["tokens"] for source in told["sources"].values())
    assert nats / tokens == pytest.approx(told["ladder"]["rungs"][-2]["nats_per_token"], rel=1e-4)
    assert main(argv) == 0
    assert "validation of digits.jsonl: " in capsys.readouterr().out


def test_the_context_fits_the_shortest_source(weighted: ShardDataset) -> None:
    begin, end = weighted.manifest.spans("train")[0]
    assert weighted.fits(1 << 20) == end - begin - 1
    with pytest.raises(CorpusError, match="does not fit"):
        weighted.get_batch("train", 0, batch_size=2, block_size=1 << 20, seed=1)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (["1"], "1 weights for 2 sources; give one for each"),
        (["1", "0"], "must all be above 0"),
        (["1", "nan"], "must all be above 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    weights: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["prepare", *write_sources(tmp_path), "--out", str(tmp_path / "out"), "--weights", *weights]
    assert main(argv) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
