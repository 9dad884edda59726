"""Every byte of a finished run is vouched for: no bit changes unseen, no file is cut short or goes missing."""

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trained import copy_of

from clearhead.api import Run
from clearhead.config import RunConfig
from clearhead.data.prepare import prepare
from clearhead.errors import CheckpointError, ClearheadError
from clearhead.files import sha256_file
from clearhead.models.bigram import BigramLanguageModel
from clearhead.runs.checkpoint import load_checkpoint, load_mixture, save_checkpoint
from clearhead.runs.corpus import corpus_record
from clearhead.runs.directory import FIXED, RunDirectory, create_run
from clearhead.runs.records import to_json
from clearhead.runs.verification import looks_like_run, runs_to_verify, verify_run

MODELS = ["mixture", "gpt", "bigram", "ngram"]


@pytest.fixture
def finished(tmp_path) -> Callable[[str], RunDirectory]:
    """Makes a copy of a finished run, to be damaged."""
    return lambda model: copy_of(model, tmp_path / "runs")


@pytest.fixture
def fresh(poem, tmp_path) -> RunDirectory:
    """A run that nothing has trained yet."""
    prepared = prepare(RunConfig(model="bigram"), [str(poem)])
    return create_run(
        tmp_path / "runs",
        "fresh",
        config=RunConfig(model="bigram"),
        tokenizer=prepared.tokenizer,
        corpus=corpus_record(prepared.corpus),
        environment={"torch": torch.__version__},
    )


def files_of(run: RunDirectory) -> list[Path]:
    """All files of a run but the lock."""
    return sorted(path for path in run.path.rglob("*") if path.is_file() and path != run.lock_file)


def damage(path: Path, content: bytes | None) -> Iterator[None]:
    """Put other bytes into a file, or delete it, and put it right again."""
    whole = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def faults(run: RunDirectory) -> list[str]:
    return [str(fault) for fault in verify_run(run).faults]


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_run_is_sealed_and_whole(finished, model):
    run = finished(model)
    report = verify_run(run)
    assert (report.ok, report.sealed, report.faults, report.notes) == (True, True, (), ())
    assert report.files == len([file for file in files_of(run) if file.name != "manifest.json"])
    assert report.size == sum(file.stat().st_size for file in files_of(run) if file.name != "manifest.json")


def test_sealing_vouches_for_every_loose_file(finished):
    run = finished("mixture")
    names = {p.relative_to(run.path).as_posix() for p in files_of(run) if run.checkpoints not in p.parents}
    assert run.read_manifest().keys() == names - {"manifest.json"}
    assert {*FIXED, "best", "latest", "events.jsonl"} <= names
    sealed = run.manifest_file.read_bytes()
    run.seal()
    assert run.manifest_file.read_bytes() == sealed
    run.unseal()
    assert run.read_manifest().keys() == {*FIXED}
    report = verify_run(run)
    assert (report.ok, report.sealed) == (True, False)
    run.seal()
    assert run.manifest_file.read_bytes() == sealed


def test_sealing_again_never_accepts_a_damaged_file(finished):
    run = finished("mixture")
    run.events_file.write_bytes(flipped(run.events_file.read_bytes(), 999))
    run.seal()
    assert not verify_run(run).ok


def test_sealing_settles_a_configuration_that_was_being_replaced(finished):
    run = finished("mixture")
    run.unseal()
    digests = run.read_manifest()
    both = {**digests, "config.toml": [digests["config.toml"], "0" * 64]}
    run.manifest_file.write_text(to_json(both), encoding="utf-8")
    assert verify_run(run).ok
    run.seal()
    assert run.read_manifest()["config.toml"] == digests["config.toml"]
    assert verify_run(run).ok


@pytest.mark.parametrize("model", ["mixture", "ngram"])
def test_every_truncation_and_deletion_is_found(finished, model):
    run = finished(model)
    for path in files_of(run):
        whole = path.read_bytes()
        cuts = {len(whole) * k // 16 for k in range(16)} - {len(whole)}
        for content in (None, *(whole[:cut] for cut in sorted(cuts))):
            for _ in damage(path, content):
                found = faults(run)
                assert found, f"{path} {'deleted' if content is None else f'cut to {len(content)}'}"
                assert all("\n" not in line for line in found)
    assert verify_run(run).ok


def check_flips(run: RunDirectory, flips: list[tuple[Path, int]]) -> None:
    """Every flip is found, and loading gives either whole weights of this run or one line of why not."""
    whole = {_weights(load_checkpoint(run, step).model) for step in run.steps()}
    if mixture := load_mixture(run):
        whole = {_weights(mixture.model)}
    for path, bit in flips:
        for _ in damage(path, flipped(path.read_bytes(), bit)):
            where = f"bit {bit} of {path}"
            assert not verify_run(run).ok, where
            with suppress(ClearheadError):
                assert _weights(Run(run).model) in whole, where


def _weights(model: torch.nn.Module) -> tuple[bytes, ...]:
    return tuple(tensor.contiguous().numpy().tobytes() for tensor in model.state_dict().values())


@pytest.mark.parametrize("model", ["mixture", "gpt"])
def test_a_few_flips_in_every_file(finished, model):
    run, drawn = finished(model), random.Random(0)
    check_flips(run, [(path, drawn.randrange(path.stat().st_size * 8)) for path in files_of(run) for _ in range(3)])


@pytest.mark.slow
def test_flips_all_along_the_manifests_are_found(finished):
    run = finished("bigram")
    checkpoint = run.checkpoint(run.steps()[-1]) / "manifest.json"
    for path in (run.manifest_file, checkpoint, run.path / "latest", run.path / "best"):
        content = path.read_bytes()
        for bit in range(0, len(content) * 8, 5):  # 5 and 8 share no factor: every bit of a byte has its turn
            for _ in damage(path, flipped(content, bit)):
                assert not verify_run(run).ok, f"bit {bit} of {path}"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mixture", "gpt"])
def test_a_thousand_flips_over_all_files(finished, model):
    run, drawn = finished(model), random.Random(1)
    files = files_of(run)
    check_flips(run, [(path := drawn.choice(files), drawn.randrange(path.stat().st_size * 8)) for _ in range(1_000)])


def test_a_damaged_pointer_is_refused_at_loading_and_can_be_put_right(finished):
    run = finished("gpt")
    held = (run.path / "best").read_text()
    (run.path / "best").write_text("step-999\n")
    with pytest.raises(CheckpointError, match=f"best has changed .*; it held {held.strip()}: write that into it"):
        Run(run)
    (run.path / "best").write_text(held)
    assert Run(run).step == run.pointer("best")


def test_a_run_that_trains_may_end_within_a_line(finished):
    run = finished("bigram")
    run.unseal()
    with run.events_file.open("a") as file:
        file.write('{"event": "step')
    report = verify_run(run)
    assert report.ok
    assert [str(note) for note in report.notes] == ["events.jsonl ends within a line, as after a kill"]
    with run.events_file.open("a") as file:
        file.write("\n")
    number = len(run.events_file.read_bytes().splitlines())
    assert faults(run) == [f"events.jsonl holds no event in line {number}"]


@pytest.mark.parametrize("line", ["[]", "{}", '{"event": "stepped"}', '{"event": 1, "step": 1}', "\x00", "[" * 100_000])
def test_a_line_that_is_no_event_is_found(fresh, line):
    fresh.events_file.write_text('{"event": "started", "step": 0}\n' + line + "\n", encoding="utf-8")
    assert faults(fresh) == ["events.jsonl holds no event in line 2"]


def test_what_nobody_wrote_is_noted_and_what_belongs_is_missed(finished):
    run = finished("gpt")
    (run.path / "notes.txt").write_text("mine")
    assert [str(note) for note in verify_run(run).notes] == ["notes.txt is not in the manifest"]
    first = run.checkpoint(run.steps()[0])
    (first / "model.pt").write_bytes(b"")
    assert faults(run) == [f"checkpoints/{first.name}/model.pt does not belong into a checkpoint"]


def test_what_was_set_aside_or_left_over_is_noted(finished):
    run = finished("gpt")
    first = run.steps()[0]
    run.set_aside(first)
    (run.checkpoints / ".step-9.abc.tmp").mkdir()
    (run.path / ".latest.7.tmp").write_text("step-")
    (run.checkpoints / "odd").mkdir()
    report = verify_run(run)
    assert report.ok
    assert [note.where for note in report.notes] == [
        "checkpoints/.step-9.abc.tmp",
        "checkpoints/odd",
        f"checkpoints/step-{first}.broken",
    ]


def test_a_pointer_to_nothing_is_found(fresh):
    fresh.point("latest", 3)
    assert faults(fresh) == ["latest points to step-3, which is not there"]
    (fresh.path / "latest").write_bytes(b"\xff" + b"9" * 5_000)
    assert faults(fresh) == ["latest names no checkpoint"]


def rewrite_state(folder: Path, **changes: object) -> None:
    """Change a checkpoint's state.json, and its manifest with it: nothing is damaged, it only says something else."""
    document = json.loads((folder / "state.json").read_text())
    document |= changes
    (folder / "state.json").write_text(json.dumps(document))
    digests = json.loads((folder / "manifest.json").read_text())
    digests["state.json"] = sha256_file(folder / "state.json")
    (folder / "manifest.json").write_text(to_json(digests))


def test_a_checkpoint_that_contradicts_its_run_is_named(finished):
    run = finished("mixture")
    step = run.steps()[-1]
    folder, where = run.checkpoint(step), f"checkpoints/step-{step}/state.json"
    model = json.loads((folder / "state.json").read_text())["model"]
    rewrite_state(folder, step=step + 1)
    assert faults(run) == [f"{where} says that it is step {step + 1}"]
    rewrite_state(folder, step=step, model={"kind": "gpt", "config": {**model["config"], "n_embd": 24}})
    assert faults(run) == [f"{where} has n_embd=24 where the run has 16"]
    rewrite_state(folder, model={"kind": "bigram", "config": {"vocab_size": 9}})
    assert faults(run) == [f"{where} describes a model 'bigram', config.toml 'gpt'"]
    for nothing in (None, [], {"kind": 1}, {"kind": "gpt", "config": 7}):
        rewrite_state(folder, model=nothing)
        assert faults(run) == [f"{where} describes no model"]
    rewrite_state(folder, model=model)
    mixed = json.loads((run.mixture / "state.json").read_text())["model"]
    other = {**mixed["config"], "ngram": {**mixed["config"]["ngram"], "vocab_size": 9}}
    rewrite_state(run.mixture, model={"kind": "mixture", "config": other})
    known = run.read_tokenizer().vocab_size
    assert faults(run) == [f"checkpoints/mixture/state.json has ngram.vocab_size=9 where the run has {known}"]


def test_records_must_say_what_they_should(fresh):
    for name, content, reason in (
        ("config.toml", "model = 7\n", "wrong type"),
        ("tokenizer.json", "[]", "is no tokenizer file"),
        ("corpus.json", '{"name": "x"}', "describes no text"),
        ("environment.json", "[]", "holds no JSON object"),
    ):
        for _ in damage(fresh.path / name, content.encode()):
            digests = {**fresh.read_manifest(), name: sha256_file(fresh.path / name)}
            for _ in damage(fresh.manifest_file, to_json(digests).encode()):
                (found,) = faults(fresh)
                assert found.startswith(f"{name} does not say what it should: ")
                assert reason in found


def test_a_manifest_reads_nothing_outside_its_run(fresh, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    digests = {**fresh.read_manifest(), "../../secret": sha256_file(secret), str(secret): sha256_file(secret)}
    fresh.manifest_file.write_text(to_json(digests), encoding="utf-8")
    assert {"../../secret is missing", f"{secret} is missing"} <= {*faults(fresh)}


def test_an_unfinished_run_is_verified_too(fresh):
    assert verify_run(fresh).ok
    save_checkpoint(fresh, 1, BigramLanguageModel(fresh.read_tokenizer().vocab_size), state={})
    report = verify_run(fresh)
    assert (report.ok, report.sealed) == (True, False)
    fresh.unpoint("latest")
    assert [str(note) for note in verify_run(fresh).notes] == ["latest is missing"]


def test_what_is_left_of_a_run_is_still_verified(finished, tmp_path):
    run = finished("bigram")
    (run.path.parent / "no-run").mkdir()
    run.manifest_file.unlink()
    assert looks_like_run(run.path)
    assert runs_to_verify(run.path.parent) == [run]
    assert faults(run) == ["manifest.json is missing"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_fifo_is_never_waited_for(fresh):
    for name in ("manifest.json", "latest", "events.jsonl", "config.toml"):
        (fresh.path / name).unlink(missing_ok=True)
        os.mkfifo(fresh.path / name)
    assert "manifest.json is missing" in faults(fresh)


def test_progress_is_told(finished):
    run, told = finished("bigram"), []
    report = verify_run(run, told.append)
    assert (len(told), sum(told)) == (report.files, report.size)


BYTES: Callable[[], st.SearchStrategy[bytes]] = lambda: st.one_of(  # noqa: E731
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_never_a_traceback_whatever_the_bytes_are(finished, tmp_path, data):
    run = RunDirectory(tmp_path / "runs" / "bigram")
    if not run.path.exists():
        finished("bigram")
    path = data.draw(st.sampled_from(files_of(run)))
    for _ in damage(path, data.draw(BYTES())):
        report = verify_run(run)
        assert not report.ok
        assert all(str(fault).isprintable() for fault in report.faults)


def test_events_survive_samples_with_line_ends_of_other_kinds(fresh):
    """str.splitlines would cut a line at U+2028, and what follows would be lost."""
    events = [{"event": "sampled", "step": 1, "text": "a\u2028b\x85c\x0cd"}, {"event": "saved", "step": 1}]
    lines = [json.dumps(event, ensure_ascii=False) + "\n" for event in events]
    fresh.events_file.write_text("".join(lines), encoding="utf-8", newline="\n")
    assert fresh.read_events() == events
    assert verify_run(fresh).ok
