"""Runs and token caches in which a file is anything: every reader reads or refuses, whether or not the hashes agree."""

import json
from pathlib import Path
from typing import Any

import pytest
from anything import DEEP, FULL, JSON, QUICK, as_json, edited, fuzz, misstated, read
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sabotage import TEXT, cache_of_tests, call, copy_of, make_run, reseal
from safetensors.torch import load_file

import clearhead
from clearhead.config import RunConfig
from clearhead.data import store
from clearhead.data.prepare import prepare
from clearhead.data.tokens import TokenDataset
from clearhead.runs.checkpoint import load_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.training.progress import Progress


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    with cache_of_tests(tmp_path_factory):
        return make_run(tmp_path_factory.mktemp("fuzz"), "--model", "bigram")


def files_of(run: RunDirectory) -> list[str]:
    """The names of a run's files from its folder: its own, and those of one checkpoint."""
    step = run.checkpoint(run.steps()[-1])
    own = [path for path in run.path.iterdir() if path.is_file() and path.name != ".lock"]
    return sorted(path.relative_to(run.path).as_posix() for path in (*own, *step.iterdir()))


RUN_FILES = (
    *("best", "config.toml", "corpus.json", "environment.json", "events.jsonl", "latest", "manifest.json"),
    *("checkpoints/step-4/manifest.json", "checkpoints/step-4/model.safetensors"),
    *("checkpoints/step-4/optimizer.safetensors", "checkpoints/step-4/state.json", "tokenizer.json"),
)
COUNTS = {"train": 1, "dev": 0, "val": 1}
RECORD = {"name": "a", "paths": [], "sha256": "a", "val_sha256": "b", "documents": COUNTS, "characters": COUNTS}
KNOWN_RUN_FILES: dict[str, list[bytes]] = {
    "best": [b"step-" + b"9" * 5_000, b"\xff\xfe../../step-1", "step-٤".encode()],
    "latest": [b"step-" + b"9" * 5_000],
    "events.jsonl": [b"\xff", b"[1]\n", b"null\n", b"{}\n", b"[" * 100_000, b'{"event": "evaluated", "step": 2}\n',
                     b'{"event": "evaluated", "step": 2, "best": true, "val": "low"}\n'],
    "corpus.json": [b"{}", as_json(RECORD | {"paths": [[]]}), as_json(RECORD | {"paths": [None]}),
                    as_json(RECORD | {"paths": ["-"]}), as_json(RECORD | {"sha256": "0", "blocks": 3}),
                    b'{"name": 3}', b'{"name": "[/b]", "paths": 5}'],
    "manifest.json": [b"{}", b'{"config.toml": 3}', b'{"../config.toml": "a"}', b'{"a\\u0000b": "a"}'],
}  # fmt: skip


def values_for(original: bytes, name: str) -> SearchStrategy[bytes]:
    """Files in place of one: edited ones, unlike ones, and where it is JSON, ones that say something else."""
    anything = [edited(original), st.binary(max_size=60), JSON.map(as_json), DEEP]
    if name.endswith(".json"):
        anything += [misstated(json.loads(original))] * 3
    if name.endswith(".jsonl"):
        lines = original.splitlines()
        anything += [
            misstated(json.loads(line)).map(lambda odd: b"\n".join([lines[0], odd, b""])) for line in lines[1:4]
        ]
    return st.one_of(anything)


def check_run(run: RunDirectory, weights: dict[str, Any]) -> None:
    """Whatever a run's files say, every reader reads or refuses."""
    read(run.verify)
    read(run.read_config)
    read(run.read_tokenizer)
    read(run.read_corpus)
    events = run.read_events()
    assert all(isinstance(event["event"], str) and isinstance(event["step"], int) for event in events)
    assert all(run.pointer(which) is None or run.pointer(which) in range(1 << 60) for which in ("best", "latest"))
    for step in run.steps():
        checkpoint = read(lambda step=step: load_checkpoint(run, step))
        if checkpoint is not None:
            assert checkpoint.step == step
            found = checkpoint.model.state_dict()
            assert {name: tensor.shape for name, tensor in found.items()} == weights
            assert all(bool(tensor.isfinite().all()) for tensor in found.values())
            read(lambda checkpoint=checkpoint: Progress.of(checkpoint.state, checkpoint.step))
    used = read(lambda: clearhead.load(run.path))
    if used is not None:
        assert isinstance(read(lambda: used.generate("The", max_new_tokens=2)), str | None)
        read(lambda: used.data)
    assert call("runs", "--out", run.path.parent).code == 0


def fuzz_run(finished: RunDirectory, folder: Path, name: str, count: int) -> None:
    run = copy_of(finished, folder)
    kept = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    shapes = {key: tensor.shape for key, tensor in load_file(run.checkpoint(4) / "model.safetensors").items()}

    def check(content: bytes) -> None:
        (run.path / name).write_bytes(content)
        try:
            check_run(run, shapes)  # the hashes differ
            reseal(run)
            check_run(run, shapes)  # and now they agree
        finally:
            for path, original in kept.items():
                path.write_bytes(original)

    fuzz(check, values_for(kept[run.path / name], name), count, KNOWN_RUN_FILES.get(name, []))


def test_every_file_of_a_run_is_among_the_fuzzed(finished):
    assert files_of(finished) == sorted(RUN_FILES)


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_run_in_which_a_file_is_anything(finished, tmp_path, name):
    fuzz_run(finished, tmp_path, name, QUICK // 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_FILES)
def test_many_runs_in_which_a_file_is_anything(finished, tmp_path, name):
    fuzz_run(finished, tmp_path, name, FULL // 25)


def fuzz_cache(folder: Path, count: int) -> None:
    path = folder / "text.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    prepared = prepare(RunConfig(), [str(path)])
    corpus, fingerprint = prepared.corpus, prepared.tokenizer.fingerprint
    place = store.folder_of(corpus.sha256, fingerprint)
    original = (place / store.META).read_bytes()

    def check(content: bytes) -> None:
        (place / store.META).write_bytes(content)
        assert TokenDataset.find(corpus.sha256, fingerprint) is None or json.loads(content) == json.loads(original)
        _let_digest_agree(place / store.META)
        data = TokenDataset.find(corpus.sha256, fingerprint)
        if data is not None:
            assert all(
                data.ids(name).max(initial=0) < prepared.tokenizer.vocab_size for name in ("train", "dev", "val")
            )
            assert len(data.ids("counts")) == prepared.data.meta.tokens["counts"]
            assert set(data.meta.characters) == {"train", "dev", "val", "counts"}
        again = prepare(RunConfig(), [str(path)]).data
        assert again.ids("counts").tolist() == prepared.data.ids("counts").tolist()

    values = st.one_of(
        edited(original), misstated(json.loads(original)), JSON.map(as_json), DEEP, st.binary(max_size=40)
    )
    known = [
        json.dumps(json.loads(original) | {name: None}).encode() for name in ("tokens", "hidden", "dtype", "sha256")
    ]
    fuzz(check, values, count, [b"{}", b"[]", b"null", b'{"digest": 1}', b'{"digest": {}, "name": []}', *known])


def _let_digest_agree(path: Path) -> None:
    try:
        values = json.loads(path.read_bytes())
        values.pop("digest", None)
        digest = store.TokenMeta(**values).digest
        path.write_text(json.dumps({**values, "digest": digest}))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return


def test_a_token_cache_that_says_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    fuzz_cache(tmp_path, QUICK)


@pytest.mark.slow
def test_many_token_caches_that_say_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    fuzz_cache(tmp_path, FULL // 5)
