"""Checkpoints written by a thread from a copy, one at a time: training goes on meanwhile."""

import threading
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor

from clearhead.errors import StorageError
from clearhead.files import flush, storing
from clearhead.models.base import LanguageModel
from clearhead.runs.checkpoint import Snapshot, described, prune, snapshot, write_shards, write_snapshot
from clearhead.runs.directory import RunDirectory


class CheckpointWriter:
    """Writes the checkpoints of one run, keeping the newest few and the best.

    What goes wrong in the thread is raised by the next call of any method.
    """

    def __init__(self, run: RunDirectory, keep: int) -> None:
        self.run, self.keep = run, keep
        self._idle = threading.Event()
        """Not the thread's join: a signal that interrupts one takes the thread for ended (Python 3.11)."""
        self._idle.set()
        self._trouble: BaseException | None = None

    def begin(
        self,
        step: int,
        model: LanguageModel,
        *,
        state: dict[str, Any],
        optimizer: dict[str, Tensor],
        best: int | None,
    ) -> None:
        """Copy what is to be saved, and begin to write it when the one before lies on the disk.

        `best` is the step that the pointer of that name is set to, this one or an older one. StorageError when the
        disk refuses, or has no room.
        """
        self.wait()
        take = partial(snapshot, step, model, state=state, optimizer=optimizer)
        try:
            # A daemon: who leaves at once need not wait for it, and half a checkpoint is none.
            thread = threading.Thread(target=self._write, args=(take(copy=True), best), name="checkpoint", daemon=True)
            self._idle.clear()
            thread.start()
        except (MemoryError, RuntimeError):  # no memory for a copy, or for another thread: then training waits
            self._write(take(), best)
            self.check()

    def wait(self) -> None:
        """Return when all that was begun lies on the disk."""
        self._idle.wait()
        self.check()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return not self._idle.is_set()

    def check(self) -> None:
        """Raise what has gone wrong by now; wait for nothing."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble

    def _write(self, taken: Snapshot, best: int | None) -> None:
        try:
            if self.run.events_file.exists():  # what led here is on the disk before what goes on from here
                with storing(self.run.events_file):
                    flush(self.run.events_file)
            self._save(taken)
            if best is not None and self.run.checkpoint(best).exists():
                self.run.point("best", best)
            self.run.point("latest", taken.step)
            prune(self.run, self.keep)
        except StorageError as error:
            good = max(self.run.steps(), default=None)
            kept = "no checkpoint was saved yet" if good is None else f"checkpoint {good} is whole"
            self._trouble = StorageError(f"{error}; {kept}")
        except BaseException as error:  # the thread that trains has to hear of it
            self._trouble = error
        finally:
            self._idle.set()

    def _save(self, taken: Snapshot) -> None:
        write_snapshot(self.run.checkpoint(taken.step), taken)


class ShardWriter(CheckpointWriter):
    """For ranks that hold parts of the model: each writes its own, and training waits until all have."""

    def begin(
        self,
        step: int,
        model: LanguageModel,
        *,
        state: dict[str, Any],
        optimizer: dict[str, Tensor],
        best: int | None,
    ) -> None:
        """As a CheckpointWriter, of sharded tensors; all ranks call it together, rank 0 moves the pointers."""
        taken = Snapshot(step, described(model), model.state_dict(), optimizer, state)
        if dist.get_rank():
            self._save(taken)
        else:
            self._write(taken, best)
            self.check()

    def _save(self, taken: Snapshot) -> None:
        write_shards(self.run.checkpoint(taken.step), taken)


class NoWriter(CheckpointWriter):
    """For a process that trains along with the one that writes."""

    def begin(self, *_: Any, **__: Any) -> None:
        """Write nothing."""
