"""Save, crash, break, resume, extend, interrupt, in any order: what must hold after each, on the real classes."""

import hashlib
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from failing_disk import FailingDisk, Killed, write_in_turn
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tiny_runs import tiny_job

from clearhead.errors import CheckpointError
from clearhead.runs.checkpoint import FILES, MANIFEST, load_checkpoint, newest_checkpoint, optimizer_tensors
from clearhead.runs.directory import RunDirectory
from clearhead.runs.verification import verify_run
from clearhead.training import job as job_module
from clearhead.training.events import Event, Finished, Saved, Stepped
from clearhead.training.job import Job, resume_job
from clearhead.training.sinks import EventFile
from clearhead.training.trainer import Trainer

TINY = {"n_embd": 8, "n_head": 2, "block_size": 8, "batch_size": 2, "max_iters": 6, "eval_interval": 2}
MOST_STEPS = 40


class RunMachine(RuleBasedStateMachine):
    """A run, and a log of what each of its steps came to and of what was told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="clearhead-machine-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("CLEARHEAD_CACHE", str(self.folder / "cache"))
        self.patch.setattr("clearhead.training.judging.SAMPLE_TOKENS", 1)
        rungs = job_module.counted_rungs
        known: list[object] = []  # counted once: they are none of a checkpoint's business
        self.patch.setattr(job_module, "counted_rungs", lambda *given: known or known.extend(rungs(*given)) or known)
        write_in_turn(self.patch)
        self.disk = FailingDisk(self.patch, self.folder, error=Killed, half=True)
        self.log: dict[int, str] = {}
        self.story: dict[int, dict[str, object]] = {}
        self.saved: set[int] = set()
        self.broken = self.moved_at = 0
        self.job: Job | None = None
        self.told: EventFile | None = None

    def teardown(self) -> None:
        self.leave()
        self.patch.undo()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What happens

    @initialize(
        optimizer=st.sampled_from(["adamw", "muon"]),
        save_interval=st.integers(1, 4),
        accumulation=st.sampled_from([1, 2]),
        keep=st.integers(2, 3),
    )
    def begin(self, **chosen: object) -> None:
        job = tiny_job(self.folder, **{**TINY, **chosen})
        self.run: RunDirectory = job.run
        self.end = 6
        self.watch(job)

    @precondition(lambda self: self.job is not None)
    @rule(events=st.integers(1, 12))
    def train(self, events: int) -> None:
        self.advance(events)

    @precondition(lambda self: self.job is not None)
    @rule()
    def crash(self) -> None:
        """A kill between two writes."""
        self.leave()

    @precondition(lambda self: self.job is not None)
    @rule(events=st.integers(1, 12), request=st.integers(1, 40))
    def crash_in_a_write(self, events: int, request: int) -> None:
        """A kill at some request to the disk: what is not renamed is left as it lies."""
        self.disk.refuse = len(self.disk.asked) + request
        with suppress(Killed):
            self.advance(events)
        self.leave()

    @precondition(lambda self: self.job is not None)
    @rule()
    def interrupt(self) -> None:
        assert self.job is not None
        self.trainer.request_stop()
        self.advance(1 << 20)

    @precondition(lambda self: self.job is None)
    @rule()
    def resume(self) -> None:
        self.go_on(None)

    @precondition(lambda self: self.job is None)
    @rule(request=st.integers(1, 30))
    def crash_in_a_resume(self, request: int) -> None:
        self.disk.refuse = len(self.disk.asked) + request
        with suppress(Killed, CheckpointError):
            resume_job(self.run).release()
        self.disk.refuse = None

    @precondition(lambda self: self.job is None and self.end < MOST_STEPS)
    @rule(more=st.integers(1, 5))
    def extend(self, more: int) -> None:
        self.go_on(self.end + more)

    @precondition(lambda self: self.job is None and self.end < MOST_STEPS)
    @rule(more=st.integers(1, 5), request=st.integers(1, 40))
    def crash_in_an_extension(self, more: int, request: int) -> None:
        stood = self.stands()
        self.disk.refuse = len(self.disk.asked) + request
        with suppress(Killed):
            resume_job(self.run, self.end + more).release()
        self.disk.refuse = None
        self.note_the_end(stood)

    @precondition(lambda self: self.job is None and len(self.run.steps()) > 1)
    @rule(file=st.sampled_from([*FILES, MANIFEST]), sixteenth=st.integers(0, 15))
    def break_the_newest(self, file: str, sixteenth: int) -> None:
        """Not the last whole one: then there is nothing to promise."""
        newest = self.run.steps()[-1]
        if newest_checkpoint(self.run)[0].step != newest or not self.is_whole(self.run.steps()[-2]):
            return
        path = self.run.checkpoint(newest) / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size * sixteenth // 16])
        self.broken += 1

    # How it is driven

    @property
    def trainer(self) -> Trainer:
        assert self.job is not None
        assert self.job.trainer is not None
        return self.job.trainer

    def watch(self, job: Job) -> None:
        self.job, self.told = job, EventFile(job.run.events_file)
        self.events = job.events()

    def advance(self, count: int) -> None:
        """Let so many events come, each held against the log."""
        for _ in range(count):
            event = next(self.events)
            assert self.told is not None
            self.told.handle(event)
            self.note(event)
            if isinstance(event, Finished):
                self.told.close()
                self.run.seal()
                self.leave()
                return

    def note(self, event: Event) -> None:
        if isinstance(event, Stepped):
            assert self.log.setdefault(event.step, self.digest()) == self.digest(), "a step came to something else"
            line = without_clock(event.to_dict())
            assert self.story.setdefault(event.step, line) == line, "a step was told in other words"
        if isinstance(event, Saved):
            self.saved.add(event.step)

    def digest(self) -> str:
        """Of all weights and moments."""
        trainer = self.trainer
        tensors = {**trainer.model.state_dict(), **optimizer_tensors(trainer.optimizer, trainer.model)}
        content = b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
        return hashlib.sha256(content).hexdigest()

    def leave(self) -> None:
        """As the system does for a process that is gone: no lock, no open file, nothing that was still buffered."""
        if self.job is not None and self.told is not None:
            with suppress(Killed, ValueError):
                self.told.file.buffer.raw.close()  # pyright: ignore[reportAttributeAccessIssue]
            with suppress(Killed):
                self.job.release()
        self.job = self.told = None
        self.disk.refuse = None

    def go_on(self, max_iters: int | None) -> None:
        stood = self.stands()
        try:
            job = resume_job(self.run, max_iters)
        except CheckpointError as refused:
            self.check_complete(str(refused), max_iters)
            return
        self.note_the_end(stood)
        self.watch(job)
        assert self.trainer.progress.step == stood
        if stood:
            assert self.log[stood] == self.digest(), "what was restored is not what was saved"

    def check_complete(self, said: str, max_iters: int | None) -> None:
        """Only a run that is done is refused, and only where no later end is asked for."""
        last = self.run.read_events()[-1]
        assert f"is complete at step {self.end};" in said
        assert (max_iters, last["event"], last["reason"]) == (None, "finished", "done")

    def stands(self) -> int:
        """The step that a resume will go on from."""
        return newest_checkpoint(self.run)[0].step if self.run.steps() else 0

    def note_the_end(self, stood: int) -> None:
        """Where the end was moved, what comes after the checkpoint will be something else.

        So it will where checkpoints from after the move are broken: those steps are made again under the new rates.
        """
        end = self.run.read_config().train.max_iters
        if end != self.end or stood < self.moved_at:
            self.end, self.moved_at = end, stood
            self.log = {step: digest for step, digest in self.log.items() if step <= stood}
            self.story = {step: line for step, line in self.story.items() if step <= stood}

    def is_whole(self, step: int) -> bool:
        with suppress(CheckpointError):
            return load_checkpoint(self.run, step).step == step
        return False

    # What must hold

    @invariant()
    def a_whole_checkpoint_exists_once_one_was_saved(self) -> None:
        if self.saved:
            assert newest_checkpoint(self.run)[0].step >= 0

    @invariant()
    def two_are_kept(self) -> None:
        if len(self.saved) >= 2:
            assert len(self.run.steps()) + self.broken >= 2
            assert len(self.run.steps()) <= self.run.read_config().train.keep + 2, "pruned, but for one of a crash"

    @invariant()
    def pointers_point_at_checkpoints(self) -> None:
        for which in ("best", "latest"):
            if (step := self.run.pointer(which)) is not None:
                assert self.run.checkpoint(step).is_dir(), which

    @invariant()
    def nothing_is_wrong_but_what_was_broken(self) -> None:
        faults = [finding for finding in verify_run(self.run).faults if "checkpoints/step-" not in finding.where]
        assert faults == []
        if not self.broken:
            assert verify_run(self.run).faults == ()

    @invariant()
    def events_are_told_in_order_once(self) -> None:
        """What the file tells of steps, evaluations and saves: never two of a kind at a step, none left out."""
        events = self.run.read_events()
        for kind in ("stepped", "evaluated", "certified", "sampled", "saved"):
            steps = [event["step"] for event in events if event["event"] == kind]
            assert steps == sorted(set(steps)), kind
        steps = [event["step"] for event in events if event["event"] == "stepped"]
        assert steps == list(range(1, len(steps) + 1))
        begun = [event for event in events if event["event"] == "started"]
        assert len(begun) == 1 or (not begun and not steps)
        for event in events:
            if event["event"] == "stepped" and event["step"] in self.story:
                assert without_clock(event) == self.story[event["step"]]


def without_clock(event: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in event.items() if name != "seconds"}


def some(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        phases=[Phase.generate],  # shrinking takes minutes, and the steps of a failure are printed as they were
    )


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = some(30, 12)


@pytest.mark.slow
class TestRunMachineLong(RunMachine.TestCase):
    settings = some(100, 40)
