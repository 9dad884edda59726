"""Checkpoints that lie: headers, shapes, types, sizes. The hashes agree, as an attacker would see to."""

import json
import resource
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sabotage import cache_of_tests, call, contents, copy_of, cut_short, make_run, refusal, reseal
from safetensors.torch import load_file, save_file

import clearhead
from clearhead.errors import ClearheadError
from clearhead.runs.checkpoint import load_checkpoint, load_mixture
from clearhead.runs.directory import RunDirectory

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
ROOM = 300 << 20
"""Bytes by which the process may grow while it refuses a file of some kilobytes; the models have 40,000."""
PATIENCE = 10.0
"""Seconds of the processor."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with cache_of_tests(tmp_path_factory):
        return make_run(tmp_path_factory.mktemp("headers"), "--model", "mixture")


@pytest.fixture
def run(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A run with one checkpoint and a mixture, to be broken."""
    run = copy_of(finished, tmp_path)
    mixture = run.mixture.rename(tmp_path / "mixture")
    cut_short(run)
    mixture.rename(run.mixture)
    return run


@contextmanager
def bounded() -> Iterator[None]:
    """Little time and little memory."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < PATIENCE
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < ROOM


def broken(read: Callable[[], object]) -> str:
    """The one line of a refusal to read."""
    with bounded(), pytest.raises(ClearheadError) as caught:
        read()
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


def only(run: RunDirectory) -> Path:
    """The folder of the only checkpoint."""
    (step,) = run.steps()
    return run.checkpoint(step)


def load(run: RunDirectory) -> object:
    return load_checkpoint(run, run.steps()[0])


def raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of the format: eight bytes of length, JSON, tensors."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def one(dtype: str = "F32", shape: object = (2, 2), offsets: object = (0, 16), **more: object) -> bytes:
    return json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}, **more}).encode()


LIES: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "no header": raw(b""),
    "a header beyond the file": raw(one(), bytes(16), length=1 << 20),
    "a header of 2**63 bytes": raw(one(), bytes(16), length=1 << 63),
    "a header of 2**64 - 1 bytes": raw(one(), bytes(16), length=(1 << 64) - 1),
    "a header of all memory": raw(one(), bytes(16), length=100_000_000),
    "a header one too short": raw(one(), bytes(16), length=len(one()) - 1),
    "no JSON": raw(b"{" + b"x" * 60),
    "no UTF-8": raw(b'{"\xff\xfe": 1}' + b" " * 20),
    "a list": raw(b"[1, 2, 3]" + b" " * 7),
    "a number": raw(b"1" + b" " * 7),
    "deep nesting": raw(b'{"w": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "deep objects": raw(b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "negative offsets": raw(one(offsets=(-16, 0)), bytes(16)),
    "offsets backwards": raw(one(offsets=(16, 0)), bytes(16)),
    "offsets beyond the file": raw(one(offsets=(0, 1 << 40), shape=(1 << 38,)), bytes(16)),
    "offsets that overflow": raw(one(offsets=(0, (1 << 64) - 4), shape=(1 << 62,)), bytes(16)),
    "a shape that overflows": raw(one(shape=(1 << 33, 1 << 33, 1 << 33)), bytes(16)),
    "a shape larger than its bytes": raw(one(shape=(1_000, 1_000)), bytes(16)),
    "a negative shape": raw(one(shape=(-2, -2)), bytes(16)),
    "a shape of text": raw(one(shape="22"), bytes(16)),
    "half a shape": raw(one(shape=(2.5, 2)), bytes(16)),
    "an unknown type": raw(one(dtype="F31"), bytes(16)),
    "a hole": raw(one(offsets=(4, 20)), bytes(20)),
    "bytes that belong to nobody": raw(one(), bytes(32)),
    "overlap": raw(one(v={"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]}), bytes(24)),
    "the same bytes twice": raw(one(v={"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}), bytes(16)),
    "a key twice": raw(one()[:-1] + b"," + one()[1:], bytes(16)),
    "metadata that is NaN": raw(one(__metadata__=float("nan")), bytes(16)),
    "metadata that holds NaN": raw(one(__metadata__={"step": float("nan")}), bytes(16)),
    "metadata that is a list": raw(one(__metadata__=[1]), bytes(16)),
    "a tensor that is none": raw(json.dumps({"w": None}).encode()),
    "no offsets": raw(b'{"w": {"dtype": "F32", "shape": [2, 2]}}', bytes(16)),
    "a valid file of another tensor": raw(one(), bytes(16)),
    "a valid file of none": raw(b"{}"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_the_weights(run, lie):
    (only(run) / MODEL).write_bytes(LIES[lie])
    reseal(run)
    broken(lambda: load(run))


@pytest.mark.parametrize("lie", [lie for lie in LIES if not lie.startswith("a valid file of none")])
def test_a_lie_about_the_moments_is_never_resumed(run, lie):
    (only(run) / OPTIMIZER).write_bytes(LIES[lie])
    reseal(run)
    before = contents(only(run))
    with bounded():
        refusal(call("resume", run.path))
    assert contents(only(run)) == before


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_the_mixture(run, lie):
    (run.mixture / MODEL).write_bytes(LIES[lie])
    reseal(run)
    broken(lambda: load_mixture(run))


@pytest.mark.parametrize("lie", ["a header of 2**63 bytes", "overlap", "a valid file of another tensor"])
def test_the_command_line_says_it_in_one_line(run, lie):
    for folder in (only(run), run.mixture):
        (folder / MODEL).write_bytes(LIES[lie])
    reseal(run)
    for words in (("generate", run.path), ("ladder", run.path), ("resume", run.path)):
        with bounded():
            assert MODEL in (line := refusal(call(*words))) or "checkpoint" in line


Tensors = dict[str, torch.Tensor]
TABLE = "token_embedding_table.weight"


def _renamed(tensors: Tensors) -> Tensors:
    return {name.replace("lm_head", "head"): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: {**tensors, TABLE: tensors[TABLE][:-1].clone()}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE].T.contiguous()}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE][None].clone()}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: torch.zeros(())}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE].double()}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE].long()}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE] > 0}, f"{TABLE}"),
        (lambda tensors: {**tensors, TABLE: tensors[TABLE].to(torch.float8_e4m3fn)}, f"{TABLE}"),
        (lambda tensors: {name: t for name, t in tensors.items() if name != TABLE}, f"{TABLE}"),
        (lambda tensors: {**tensors, "surplus": torch.zeros(3)}, "surplus"),
        (_renamed, "head.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_named(run, change, named):
    weights = change(load_file(only(run) / MODEL))
    save_file(weights, only(run) / MODEL)
    reseal(run)
    assert named in broken(lambda: load(run))


@pytest.mark.parametrize(
    "change",
    [
        lambda tables: {**tables, "ngram.raw_1": tables["ngram.raw_1"][:-1].clone()},
        lambda tables: {**tables, "ngram.raw_2": tables["ngram.raw_2"].float()},
        lambda tables: {**tables, "ngram.keys_2": -tables["ngram.keys_2"]},
        lambda tables: {**tables, "ngram.keys_2": tables["ngram.keys_2"] + (1 << 62)},
        lambda tables: {**tables, "gate": torch.zeros(2)},
        lambda tables: {**tables, "gate": torch.full((6,), float("nan"))},
        lambda tables: {name: table for name, table in tables.items() if name != "ngram.raw_2"},
    ],
)
def test_tables_of_a_mixture_that_do_not_fit(run, change):
    save_file(change(load_file(run.mixture / MODEL)), run.mixture / MODEL)
    reseal(run)
    broken(lambda: load_mixture(run))


def restate(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what state.json says."""
    document = json.loads((folder / STATE).read_text())
    change(document)
    (folder / STATE).write_text(json.dumps(document))


CLAIMS: list[dict[str, Any]] = [
    {"vocab_size": 20_000_000},
    {"vocab_size": 10**30},
    {"vocab_size": -1},
    {"vocab_size": 0},
    {"vocab_size": True},
    {"vocab_size": 65.0},
    {"vocab_size": "65"},
    {"vocab_size": None},
    {"vocab_size": [1]},
    {"n_embd": 65_536},
    {"n_embd": 32},
    {"n_embd": 16.0},
    {"n_layer": 1_024},
    {"n_layer": 0},
    {"n_head": 0},
    {"n_head": 3},
    {"ffn_width": 1 << 20},
    {"ffn_width": 10**30},
    {"block_size": 10**12},
    {"block_size": "16"},
    {"dropout": float("nan")},
    {"dropout": "0"},
    {"norm": "other"},
    {"norm": 3},
    {"norm_eps": "small"},
    {"rope_theta": float("inf")},
    {"activation": None},
    {"positions": "learned"},
    {"tie_weights": True},
    {"bias": True},
    {"qk_norm": False},
    {"unheard_of": 1},
]


@pytest.mark.parametrize("claim", CLAIMS, ids=repr)
def test_a_claim_about_the_size_that_the_weights_do_not_bear_out(run, claim):
    restate(only(run), lambda document: document["model"]["config"].update(claim))
    reseal(run)
    broken(lambda: load(run))


@pytest.mark.parametrize(
    "claim",
    [
        {"vocab_size": 200_000_000},
        {"vocab_size": 10**30},
        {"vocab_size": 3},
        {"vocab_size": None},
        {"order": 10**9},
        {"order": 10**30},
        {"order": 1},
        {"order": 0},
        {"order": "5"},
        {"order": None},
        {"eot_id": 10**9},
        {"eot_id": "0"},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_claim_about_the_tables_that_they_do_not_bear_out(run, claim):
    restate(run.mixture, lambda document: document["model"]["config"]["ngram"].update(claim))
    reseal(run)
    broken(lambda: load_mixture(run))


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"null", b"[]", b"3", b'"model"', b"{}", b'{"step": 2}', b'{"step": 2, "model": null}', b"\xff"),
        b'{"step": 2, "model": {"kind": "gpt"}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "gpt", "config": []}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "gpt", "config": "x"}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": ["gpt"], "config": {}}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "n\\no", "config": {}}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "mixture", "config": {"ngram": {}, "gpt": {}}}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "mixture", "config": {"ngram": [], "gpt": 1}}, "trainer": {}}',
        b'{"step": 2, "model": {"kind": "bigram", "config": {"vocab_size": 65000}}, "trainer": {}}',
        b"[" * 300_000,
        b'{"step": ' + b"9" * 5_000 + b"}",
    ],
)
def test_a_state_that_describes_no_model(run, document):
    (only(run) / STATE).write_bytes(document)
    reseal(run)
    broken(lambda: load(run))


@pytest.mark.parametrize(
    "change",
    [
        {"step": "2"},
        {"step": None},
        {"step": -5},
        {"step": 1.5},
        {"step": 10**30},
        {"best_step": "best"},
        {"best_dev": "low"},
        {"best_dev": None},
        {"evaluated_at": []},
        {"seconds": "long"},
        {"micro_batches": 0},
        {"micro_batches": 10**12},
        {"threads": "all"},
        {"threads": -1},
        {"threads": 10**9},
        {"evaluations_without_gain": None},
        {"surplus": 1},
    ],
    ids=repr,
)
def test_a_trainers_numbers_that_are_none(run, change):
    """No traceback, and no billion threads."""
    restate(only(run), lambda document: document["trainer"].update(change))
    reseal(run)
    with bounded():
        refusal(call("resume", run.path))


def test_the_checkpoint_of_another_run_is_named(finished, run, tmp_path):
    """Its hashes are right; its vocabulary, width or kind is not this run's."""
    others = {
        "n_embd=32": ("--n_embd", "32"),
        "n_layer=2": ("--n_layer", "2"),
        "block_size=8": ("--block_size", "8"),
        "vocab_size=": ("--tokenizer", "byte"),
        "bigram": ("--model", "bigram"),
    }
    for number, (named, flags) in enumerate(others.items()):
        folder = tmp_path / f"other-{number}"
        folder.mkdir()
        other = make_run(folder, *flags)
        mine = copy_of(run, folder / "mine")
        for target in (only(mine), mine.mixture):
            for name in (MODEL, OPTIMIZER, STATE, "manifest.json"):
                (target / name).write_bytes((other.checkpoint(2) / name).read_bytes())
        for words in (("generate", mine.path), ("resume", mine.path)):
            assert named in refusal(call(*words)), words
        with pytest.raises(ClearheadError, match=named):
            clearhead.load(mine.path)


def test_the_tokenizer_of_another_run_is_named(finished, run):
    """It has as many characters as the weights have rows only by chance."""
    values = json.loads(run.tokenizer_file.read_text(encoding="utf-8"))
    values["characters"] = "".join(sorted({*values["characters"], "§"}))
    run.tokenizer_file.write_text(json.dumps(values), encoding="utf-8")
    reseal(run)
    for words in (("generate", run.path), ("resume", run.path)):
        assert "vocab_size" in refusal(call(*words))


def test_the_configuration_of_another_run_is_named(run):
    text = run.config_file.read_text(encoding="utf-8")
    run.config_file.write_text(text.replace("n_embd = 16", "n_embd = 32"), encoding="utf-8")
    reseal(run)
    for words in (("generate", run.path), ("resume", run.path)):
        assert "n_embd" in refusal(call(*words))


def test_weights_that_are_no_numbers_are_not_used(run):
    weights = load_file(only(run) / MODEL)
    weights[TABLE][0, 0] = np.nan
    save_file(weights, only(run) / MODEL)
    reseal(run)
    assert TABLE in broken(lambda: load(run))
