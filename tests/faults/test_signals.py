"""Signals: the first saves and leaves, a second leaves at once, and neither costs a run anything."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import Case, Trial, fingerprint

from clearhead.runs.checkpoint import load_checkpoint
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from conftest import POEM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a process that knows torch")

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""What a shell sees of a command that a signal ended."""
CASE = Case("signalled", {"model": "mixture", "optimizer": "muon", "max_iters": 12, "eval_interval": 5})
LONG = 90.0
"""Seconds that no test waits for."""
AT_ONCE = 30.0
"""Seconds, at most. It is half a second where nothing else runs: an interpreter with torch takes that long to end."""
HOOKED = """
import json, sys
import hooks
getattr(hooks, sys.argv[1])(**json.loads(sys.argv[2]))
from clearhead.cli.main import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("signalled")
    text = folder / "poem.txt"
    text.write_text(POEM * 29, encoding="utf-8")
    with Trial(folder, text, seed=1) as made:
        yield made


def shell(code: int) -> int:
    """An exit code as a shell tells it."""
    return code if code >= 0 else 128 - code


def check_interrupted(run: RunDirectory, number: signal.Signals) -> None:
    """The last word of a run that a signal has ended: its name, behind a whole checkpoint."""
    last = run.read_events()[-1]
    assert (last["event"], last["reason"], last["signal"]) == ("finished", "interrupted", number.name)
    assert load_checkpoint(run, run.steps()[-1]).step == run.pointer("latest") == last["step"]
    assert verify_run(run).ok


@pytest.mark.parametrize("number", CODES)
def test_a_signal_saves_and_leaves(trial, number):
    name = f"stepped-{number.name}"
    ended = trial.forker.run(trial.train(CASE, name), "hooks:signalled", number=number, kind="stepped", count=7)
    assert ended.code == CODES[number]
    assert f"go on with: clearhead resume {trial.run(name).path}" in ended.told
    check_interrupted(trial.run(name), number)
    assert trial.run(name).steps()[-1] == 7, "after the step that was being made"
    trial.finish(CASE, name, signalled=True)


@pytest.mark.parametrize(
    ("kind", "step"), [("started", 0), ("sampled", 0)], ids=["as it begins", "before the first step"]
)
def test_a_signal_before_the_first_step(trial, kind, step):
    name = f"first-{kind}"
    ended = trial.forker.run(trial.train(CASE, name), "hooks:signalled", number=signal.SIGTERM, kind=kind)
    assert ended.code == 143
    check_interrupted(trial.run(name), signal.SIGTERM)
    assert trial.run(name).steps() == [step]
    trial.finish(CASE, name, signalled=True)


def test_a_signal_in_the_last_step(trial):
    ended = trial.forker.run(
        trial.train(CASE, "last"), "hooks:signalled", number=signal.SIGINT, kind="stepped", count=12
    )
    assert ended.code == 130
    check_interrupted(trial.run("last"), signal.SIGINT)
    trial.finish(CASE, "last", signalled=True)


@pytest.mark.slow
def test_a_signal_at_every_event(trial):
    for count in range(1, len(trial.whole(CASE).found["events"]) + 1):
        name = f"event-{count}"
        ended = trial.forker.run(trial.train(CASE, name), "hooks:signalled", number=signal.SIGTERM, count=count)
        assert shell(ended.code) == 143
        assert verify_run(trial.run(name)).ok
        trial.finish(CASE, name, signalled=True)


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGINT, "clearhead.training.job:fit_mixture"),
        (signal.SIGTERM, "clearhead.training.job:fit_mixture"),
        (signal.SIGHUP, "clearhead.training.job:fit_mixture"),
        (signal.SIGINT, "clearhead.training.job:save_mixture"),
        (signal.SIGTERM, "clearhead.runs.directory:RunDirectory.seal"),
        (signal.SIGTERM, "clearhead.training.draft:counted_rungs"),
        (signal.SIGINT, "clearhead.training.job:create_run"),
    ],
)
def test_a_signal_where_no_steps_are_made_leaves_at_once(trial, number, where):
    name = f"in-{where.rpartition(':')[2]}-{number.name}"
    ended = trial.forker.run(trial.train(CASE, name), "hooks:signalled_in", number=number, where=where)
    assert shell(ended.code) == CODES[number]
    assert "Traceback" not in ended.told
    trial.finish(CASE, name, signalled=True)


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_ladder_is_judged_leaves_at_once(trial, number):
    name = f"judged-{number.name}"
    where = "clearhead.api:Run.ladder"
    ended = trial.forker.run(trial.train(CASE, name), "hooks:signalled_in", number=number, where=where)
    assert shell(ended.code) == CODES[number]
    assert "Traceback" not in ended.told
    assert fingerprint(trial.run(name)) == trial.whole(CASE).found


def begin(trial: Trial, words: list[str], hook: str | None = None, **given: Any) -> subprocess.Popen[str]:
    """A command as a shell begins it: an interpreter of its own, in which signals are as they are by default."""
    program = ["-m", "clearhead"] if hook is None else ["-c", HOOKED, hook, json.dumps(given)]
    folder = trial.out.parent
    return subprocess.Popen(
        [sys.executable, *program, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CLEARHEAD_CACHE": str(folder / "cache")},
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    for number in CODES:
        signal.signal(number, signal.SIG_DFL)


def wait_for_step(run: RunDirectory, step: int, process: subprocess.Popen[str]) -> None:
    """Return when a step has been told; AssertionError when the process ends before."""
    while not any(event["event"] == "stepped" and event["step"] >= step for event in run.read_events()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in CODES if n != signal.SIGTERM)]
)
def test_a_process_of_its_own_saves_and_leaves(trial, number):
    name = f"real-{number.name}"
    waits = trial.out / f"{name}.go"
    process = begin(trial, trial.train(CASE, name), "held", at=7, until=str(waits))
    wait_for_step(trial.run(name), 7, process)
    process.send_signal(number)
    waits.touch()
    told, _ = process.communicate(timeout=AT_ONCE)
    assert process.returncode == CODES[number], told
    check_interrupted(trial.run(name), number)
    trial.finish(CASE, name, signalled=True)


@pytest.mark.parametrize(
    ("hook", "given"),
    [
        ("slow_saves", {"seconds": LONG, "after": 2}),
        pytest.param("slow_step", {"seconds": LONG, "step": 6}, marks=pytest.mark.slow),
    ],
)
def test_a_second_signal_leaves_at_once(trial, hook, given):
    name = f"twice-{hook}"
    process = begin(trial, trial.train(CASE, name), hook, **given)
    wait_for_step(trial.run(name), 6, process)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for what is slow"
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=AT_ONCE)
    assert process.returncode == 143, told
    assert "Traceback" not in told
    assert verify_run(trial.run(name)).ok
    trial.finish(CASE, name, signalled=True)


def test_a_run_that_was_told_to_ignore_hang_ups_goes_on(trial):
    ended = trial.forker.run(trial.train(CASE, "nohup"), "hooks:hung_up", kind="stepped", count=5)
    assert ended.code == 0, ended.told
    assert fingerprint(trial.run("nohup")) == trial.whole(CASE).found
