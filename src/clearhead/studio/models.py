"""Runs in memory, to be looked into: read on first use, read again when they have trained on, few at a time."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from clearhead.errors import CheckpointError
from clearhead.runs.directory import POINTERS, RunDirectory

if TYPE_CHECKING:
    from clearhead.api import Run

MOST = 4
"""Runs, or checkpoints of them, in memory."""


class Models:
    """The runs that were looked into last. Safe to use from several threads."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[Hashable, Run] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, run: RunDirectory, step: int | None = None) -> "Run":
        """A run with its final weights so far, or as it stood at a checkpoint; the errors of `clearhead.load`."""
        state = fingerprint(run)
        try:
            return self._load(run, step, state)
        except CheckpointError:
            if fingerprint(run) == state:
                raise
            return self._load(run, step, fingerprint(run))  # it was trained on while it was read

    def _load(self, run: RunDirectory, step: int | None, state: Hashable) -> "Run":
        from clearhead.api import Run

        with self._lock:
            whole = self._take((run.path, state)) or self._keep((run.path, state), Run(run))
            if step is None or step == whole.step:
                return whole
            if step not in run.steps():
                kept = ", ".join(map(str, run.steps()))
                raise CheckpointError(f"run {run.name} has no checkpoint of step {step}; it has those of {kept}")
            return self._take((run.path, state, step)) or self._keep((run.path, state, step), whole.at(step))

    def _take(self, key: Hashable) -> "Run | None":
        if key in self._loaded:
            self._loaded.move_to_end(key)
        return self._loaded.get(key)

    def _keep(self, key: Hashable, run: "Run") -> "Run":
        self._loaded[key] = run
        while len(self._loaded) > MOST:
            self._loaded.popitem(last=False)
        return run


def fingerprint(run: RunDirectory) -> tuple[int, ...]:
    """Changes when other weights would be loaded."""
    return tuple(
        path.stat().st_mtime_ns if path.exists() else 0
        for path in (run.manifest_file, run.mixture, *(run.path / pointer for pointer in POINTERS))
    )
