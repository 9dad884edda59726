"""Work done by several processes, in order of need: started afresh, and gone when the one that asked is gone."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

from clearhead.errors import StorageError
from clearhead.runtime import keep_memory, share_threads

Task = TypeVar("Task")

_WAITING = 2
"""Tasks that lie ready for each worker."""


def in_processes(work: Callable[[Task], None], tasks: Iterable[Task], workers: int) -> Iterator[Task]:
    """Do the work of every task, in so many processes; each task when it is done, in their order.

    One worker is this process. What a task raises is raised here, and nothing more is begun; StorageError where a
    worker was ended from outside.
    """
    if workers == 1:
        for task in tasks:
            work(task)
            yield task
        return
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(workers,))
    try:
        yield from _in_order(pool, work, iter(tasks), workers * _WAITING)
    except BrokenProcessPool:
        raise StorageError(
            "a worker was ended from outside, perhaps because memory ran out; run the same command again with fewer "
            "--workers: what is finished is kept"
        ) from None
    finally:  # no farewell is waited for: a worker that was killed may hold the lock behind which the others hear of it
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.kill()


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[Task], None], tasks: Iterator[Task], ahead: int
) -> Iterator[Task]:
    """As above; never more than `ahead` tasks are handed over, so that their number does not matter."""
    begun: deque[tuple[Task, Future[None]]] = deque()
    while True:
        begun += ((task, pool.submit(work, task)) for task in islice(tasks, ahead - len(begun)))
        if not begun:
            return
        task, future = begun.popleft()
        future.result()
        yield task


def _begin(workers: int) -> None:
    """What a worker does first: leave Ctrl-C to its parent, take its threads, keep its memory, watch its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_threads(workers)
    keep_memory()
    threading.Thread(target=_leave_with, daemon=True).start()


def _leave_with() -> None:
    """End this process when its parent has ended, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
