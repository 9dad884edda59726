"""Checkpoints written by a thread from a copy, one at a time: training goes on meanwhile."""

import threading
from typing import Any

from torch import Tensor

from clearhead.errors import StorageError
from clearhead.models.base import LanguageModel
from clearhead.runs.checkpoint import Snapshot, prune, snapshot, write_snapshot
from clearhead.runs.directory import RunDirectory


class CheckpointWriter:
    """Writes the checkpoints of one run, keeping the newest few and the best.

    What goes wrong in the thread is raised by the next call of any method.
    """

    def __init__(self, run: RunDirectory, keep: int) -> None:
        self.run, self.keep = run, keep
        self._thread: threading.Thread | None = None
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
        taken = snapshot(step, model, state=state, optimizer=optimizer, copy=True)
        # A daemon: who leaves at once need not wait for it, and half a checkpoint is none.
        self._thread = threading.Thread(target=self._write, args=(taken, best), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when all that was begun lies on the disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what has gone wrong by now; wait for nothing."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble

    def _write(self, taken: Snapshot, best: int | None) -> None:
        try:
            write_snapshot(self.run.checkpoint(taken.step), taken)
            if best is not None:
                self.run.point("best", best)
            self.run.point("latest", taken.step)
            prune(self.run, self.keep)
        except StorageError as error:
            good = max((step for step in self.run.steps() if step != taken.step), default=None)
            kept = "no checkpoint was saved yet" if good is None else f"checkpoint {good} is whole"
            self._trouble = StorageError(f"{error}; {kept}")
        except BaseException as error:  # the thread that trains has to hear of it
            self._trouble = error
