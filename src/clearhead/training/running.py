"""A job's training, watched: every event to its readers, Ctrl-C to a saved stop."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clearhead.training.events import Finished
from clearhead.training.job import Job
from clearhead.training.sinks import EventFile, Sink, TensorBoard
from clearhead.training.trainer import Trainer


def run_job(job: Job, sinks: Sequence[Sink] = ()) -> Finished:
    """Train to the end, every event going to the event file, to TensorBoard where it is, and to `sinks`.

    Ctrl-C saves after the step that is being made; a second one leaves at once.
    """
    readers: list[Sink] = [EventFile(job.run.events_file), *sinks]
    if TensorBoard.available():
        readers.append(TensorBoard(job.run.path / "tensorboard"))
    finished = None
    try:
        with _interruptible(job.trainer):
            for event in job.events():
                for sink in readers:
                    sink.handle(event)
                finished = event
    finally:
        for sink in readers:
            sink.close()
    assert isinstance(finished, Finished)
    return finished


@contextmanager
def _interruptible(trainer: Trainer | None) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop, the second interrupt at once. Only the main thread hears signals."""
    if trainer is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: object) -> None:
        trainer.request_stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
