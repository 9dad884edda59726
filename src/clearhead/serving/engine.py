"""One thread that writes for all: rows of many requests side by side, admitted between steps, dropped at once.

The thread goes round: let go of what nobody waits for, admit what has waited longest, draw a token for every row, tell
the readers. All models run in it, so they share the processor in turns and no two calls disturb each other.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from clearhead.config import ServeConfig
from clearhead.serving.errors import ApiError, busy
from clearhead.serving.lane import Lane
from clearhead.serving.metrics import Metrics
from clearhead.serving.tickets import Queue, Request, Ticket

ADMISSION_SECONDS = 0.05
"""How long prompts are read between two steps: all other rows wait for that."""
PARTS_A_SECOND = 500
"""How often the readers of streams are woken, all of them together: each time costs the writing thread its turn."""
SHORTEST_PAUSE = 0.01
"""Seconds between two parts of a stream, at least."""
FAILED = "the model failed on this request; the server's log says why"

log = logging.getLogger("clearhead.serving")


class Engine:
    """The thread and its queue. `submit` and `cancel` may be called from any thread."""

    def __init__(self, config: ServeConfig, metrics: Metrics, post: Callable[..., Any]) -> None:
        self.config, self.metrics, self.queue = config, metrics, Queue(config)
        self.draining = False
        """No new request is taken."""
        self._post = post  # carries a call over to the readers' thread
        self._changed = threading.Condition()
        self._requests: set[Request] = set()
        self._left: list[Request] = []  # cancelled, not yet let go of
        self._stopping = False
        self._urgent: set[Request] = set()
        self._next_part = 0.0  # when the streams are told again
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        metrics.gauges["texts_running"] = ("Texts that are being written or scored.", lambda: self.running)
        metrics.gauges["texts_queued"] = ("Texts that wait for a slot.", lambda: len(self.queue))
        metrics.gauges["tokens_queued"] = (
            "Tokens of prompts, and to be written, that wait.",
            lambda: self.queue.tokens,
        )

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step it is in; requests that are still open fail."""
        with self._changed:
            self.draining = self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Texts that have left the queue and not ended."""
        return sum(map(len, self._lanes()))

    def submit(self, request: Request) -> None:
        """Take a request, all of it or nothing; ApiError (503) when there is no room, (400) when there never is."""
        with self._changed:
            try:
                if self.draining:
                    raise busy("the server is shutting down")
                self.queue.put(request)
            except ApiError as refusal:
                self.metrics.requests["rejected"] += refusal.status == 503
                raise
            self._requests.add(request)
            self.metrics.prompt_tokens += sum(len(text.ids) for text in request.texts)
            self._changed.notify()

    def cancel(self, request: Request) -> None:
        """Nobody waits for a request any more; nothing happens when it has ended."""
        with self._changed:
            if request in self._requests:
                self._left.append(request)
                self._changed.notify()

    def _lanes(self) -> set[Lane]:
        """The lanes of all open requests."""
        with self._changed:
            return {request.lane for request in self._requests}

    def _run(self) -> None:
        try:
            while self._wait():
                self._let_go()
                self._admit()
                for lane in self._lanes():
                    try:
                        self._step(lane)
                    except Exception:  # whatever one model does, the others go on
                        log.exception("%s failed in a step; its requests are given up", lane.name)
                        self._give_up(lane)
                self._tell()
        finally:  # nobody waits for a thread that has ended
            self.draining = True
            for request in self._open():
                self._end(request, "failed", busy("the server has shut down"))
            self._tell()

    def _open(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def _wait(self) -> bool:
        """Sleep while there is nothing to do; False when it is time to stop."""
        with self._changed:
            while not (self._requests or self._stopping):
                self._changed.wait()
            return not self._stopping

    def _let_go(self) -> None:
        """End the requests whose readers have left, and those whose time is over."""
        with self._changed:
            left, self._left = self._left, []
            now = time.monotonic()
            late = [request for request in self._requests if request.deadline < now]
        for request in left:
            self._end(request, "cancelled", ApiError(400, "the client has left"))
        for request in late:
            limit = f"{self.config.time_limit:g} s"
            if request.admitted:
                self._end(
                    request, "expired", ApiError(400, f"not done in {limit}; ask for fewer tokens", code="time_limit")
                )
            else:
                self._end(request, "expired", busy(f"no slot was free for {limit}"))

    def _admit(self) -> None:
        """Give free slots to those who have waited longest; a run whose slots are taken holds up no other."""
        begun = time.monotonic()
        for ticket in self.queue.waiting() if len(self.queue) else ():
            if ticket.request.lane.takes(ticket.text):
                self._take_in(ticket)
                if time.monotonic() - begun > ADMISSION_SECONDS:
                    return

    def _take_in(self, ticket: Ticket) -> None:
        """One ticket out of the queue, into its lane."""
        self.queue.remove(ticket)
        ticket.request.admitted = True
        try:
            ticket.request.lane.admit(ticket)
        except Exception:
            log.exception("%s could not take a prompt in", ticket.request.lane.name)
            self._end(ticket.request, "failed", ApiError(500, FAILED))

    def _step(self, lane: Lane) -> None:
        """One token for every row of a lane, and one window of what it scores."""
        for ticket, scored in lane.step():
            self.metrics.scored_tokens += scored
            self._advanced(ticket)

    def _advanced(self, ticket: Ticket) -> None:
        """A text has begun, ended or was scored: count, and note whom to wake at once."""
        request, text = ticket.request, ticket.text
        if not request.begun and (text.written or text.ended):
            request.begun = True
            self.metrics.first_token.observe(time.monotonic() - request.arrived)
            if request.streaming:
                self._urgent.add(request)
        if text.ended:
            self.metrics.written_tokens += text.written
            request.open -= 1
            if request.open == 0:
                self._end(request, "finished")

    def _give_up(self, lane: Lane) -> None:
        """A lane is in no known state: all that it was working on fails."""
        lane.reset()
        for request in [each for each in self._open() if each.lane is lane]:
            self._end(request, "failed", ApiError(500, FAILED))

    def _end(self, request: Request, outcome: str, failure: ApiError | None = None) -> None:
        """A request is over, and what is left of it goes."""
        with self._changed:
            if request not in self._requests:
                return
            self._requests.remove(request)
        if failure is not None:
            self.queue.drop(request)
            request.lane.drop(request)
            self.metrics.written_tokens += sum(text.written for text in request.texts if not text.ended)
            request.failure = failure
        self.metrics.requests[outcome] += 1
        self._urgent.add(request)

    def _tell(self) -> None:
        """Wake the readers: at once those whose first token or end has come, the others when it is time."""
        now = time.monotonic()
        if now >= self._next_part:
            streams = [request for request in self._open() if request.streaming and request.admitted]
            self._urgent.update(streams)
            self._next_part = now + max(SHORTEST_PAUSE, len(streams) / PARTS_A_SECOND)
        if self._urgent:
            for request in self._urgent:
                request.settle()
            self._post(wake_all, list(self._urgent))
            self._urgent.clear()


def wake_all(requests: list[Request]) -> None:
    """Wake the readers of requests."""
    for request in requests:
        request.wake()
