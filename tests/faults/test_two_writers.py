"""Two processes on one run: the second is refused, the first does not notice, and a lock dies with its holder."""

import shutil
import sys
from collections.abc import Iterator

import pytest
from forked import KILLED, Child
from killing import Case, Trial

from clearhead.runs.directory import RunDirectory
from conftest import POEM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked from a process that knows torch")

CASE = Case("held", {"model": "gpt", "optimizer": "muon", "max_iters": 8, "eval_interval": 5})
SAVED, HELD = 5, 6
"""The step of the newest checkpoint of a process that stands still, and the step it stands at."""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("held")
    text = folder / "poem.txt"
    text.write_text(POEM * 29, encoding="utf-8")
    with Trial(folder, text, seed=1) as made:
        yield made


@pytest.fixture
def held(trial: Trial) -> Iterator[tuple[RunDirectory, Child]]:
    """A run with a checkpoint, and the process that trains it and waits for us in the middle."""
    run = trial.run(f"run-{len(list(trial.out.glob('*')))}")
    waits = run.path.with_name(f"{run.name}.go")
    child = trial.forker.start(trial.train(CASE, run.name), "hooks:held", at=HELD, until=str(waits))
    try:
        while not waits.with_suffix(".held").exists() or run.pointer("latest") != SAVED:
            assert child.wait(0.01) is None, "it ended before it was held"
        yield run, child
    finally:
        waits.touch()
        child.kill()


def go_on(run: RunDirectory) -> None:
    run.path.with_name(f"{run.name}.go").touch()


def contents(run: RunDirectory) -> dict[str, bytes]:
    return {str(p.relative_to(run.path)): p.read_bytes() for p in sorted(run.path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("more", [[], ["--max_iters", "20"]], ids=["resume", "extend"])
def test_the_second_is_refused_and_the_first_not_disturbed(trial, held, more):
    run, first = held
    before = contents(run)
    second = trial.forker.run(["resume", str(run.path), *more])
    assert second.code == 2
    assert second.told.count("\n") == 1, "one line"
    assert f"is being trained by process {first.pid}" in second.told
    assert contents(run) == before
    go_on(run)
    assert first.end().code == 0
    trial.finish(CASE, run.name)


def test_the_lock_of_a_killed_process_is_none(trial, held):
    run, first = held
    assert first.kill().code == KILLED
    assert run.lock_file.read_text() == str(first.pid), "the stale file is there"
    trial.finish(CASE, run.name)


def test_many_resumes_at_once_and_one_of_them_trains(trial, held):
    run, first = held
    first.kill()
    waits = run.path.with_name("all.go")
    others = [trial.forker.start(["resume", str(run.path)], "hooks:held", at=8, until=str(waits)) for _ in range(4)]
    while sum(other.wait(0.05) is None for other in others) > 1:
        pass
    waits.touch()
    codes = sorted(other.end().code for other in others)
    assert codes == [0, 2, 2, 2]
    trial.finish(CASE, run.name)


def test_a_lock_file_that_came_with_a_copy_holds_nobody_up(trial, held):
    run, first = held
    copy = trial.run(f"{run.name}-copy")
    shutil.copytree(run.path, copy.path)
    trial.finish(CASE, copy.name)
    assert first.wait(0.0) is None
