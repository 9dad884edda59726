"""A job's training, watched: every event to its readers, a signal to a saved stop."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from clearhead.errors import ClearheadError, DivergenceError, RankLostError, StorageError
from clearhead.training.events import Event, Failed, Finished, Notice
from clearhead.training.job import Job
from clearhead.training.parallel import missing_nobody
from clearhead.training.sinks import EventFile, Sink, TensorBoard

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks a run to end. Windows has no SIGHUP."""


def run_job(job: Job, sinks: Sequence[Sink] = ()) -> Finished:
    """Train to the end, every event going to the event file, to TensorBoard where it is, and to `sinks`.

    A signal saves after the step that is being made, and its name stands in the last event; a second one leaves at
    once. Then, or where training fails, the newest checkpoint is whole.
    """
    try:
        finished = _watched(job, sinks)
        job.run.seal()
    except Exception:
        job.release()
        raise
    except BaseException:
        job.abandon()
        raise
    job.release()
    return finished


def follow_job(job: Job) -> int:
    """Train along with the process that writes and tells; the exit code. What all ranks meet, that one says."""
    assert job.trainer is not None
    last: Event | None = None
    try:
        with _interruptible(job), missing_nobody():
            for event in job.trainer.events():
                last = event
    except (DivergenceError, RankLostError, StorageError) as error:
        return error.exit_code
    return 128 + signal.SIGINT if isinstance(last, Finished) and last.reason == "interrupted" else 0


def _watched(job: Job, sinks: Sequence[Sink]) -> Finished:
    step = job.trainer.progress.step if job.trainer else 0
    readers: list[Sink] = [EventFile(job.run.events_file), *sinks]
    if TensorBoard.available():
        readers.insert(0, TensorBoard(job.run.tensorboard, step))
    last: Event | None = None
    try:
        with _interruptible(job) as heard, missing_nobody():
            for event in job.events():
                if isinstance(event, Finished) and event.reason == "interrupted" and heard:
                    event = replace(event, signal=heard[0].name)
                _tell(readers, event)
                last, step = event, max(step, event.step)  # a save is told later than its step
    except BaseException as error:
        # Why training ended is to be heard, not what a full disk then refuses to the readers.
        if isinstance(error, ClearheadError):
            with suppress(StorageError):
                _tell(readers, Failed(step, str(error)))
        for sink in readers:
            with suppress(StorageError):
                sink.close()
        raise
    for sink in readers:
        sink.close()
    assert isinstance(last, Finished)
    return last


def _tell(readers: list[Sink], event: Event) -> None:
    """Let every reader take an event. TensorBoard is one to do without: where it cannot write, the others hear so."""
    for sink in list(readers):
        try:
            sink.handle(event)
        except StorageError as error:
            if not isinstance(sink, TensorBoard):
                raise
            readers.remove(sink)
            _tell(readers, Notice(event.step, f"{error}; training goes on without TensorBoard"))


@contextmanager
def _interruptible(job: Job) -> Iterator[list[signal.Signals]]:
    """Let the first signal ask the trainer for a stop, the second, or one when it makes no steps, leave at once.

    Yields the signals heard. Only the main thread hears any, and none that the process was told to ignore: `nohup`
    ignores SIGHUP.
    """
    heard: list[signal.Signals] = []
    if job.trainer is None or threading.current_thread() is not threading.main_thread():
        yield heard
        return
    trainer = job.trainer

    def hear(number: int, _: object) -> None:
        if heard or not trainer.interruptible:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        heard.append(signal.Signals(number))
        trainer.request_stop()

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hear) for number in heeded}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
