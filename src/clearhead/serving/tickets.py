"""What is asked of the engine, and the bounded queue in which it waits."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clearhead.config import ServeConfig
from clearhead.serving.errors import ApiError, busy
from clearhead.serving.writing import Text

if TYPE_CHECKING:
    from clearhead.serving.lane import Lane


@dataclass(eq=False)
class Request:
    """Texts that are asked for together."""

    lane: "Lane"
    texts: list[Text]
    deadline: float
    """On the monotonic clock."""
    wake: Callable[[], object]
    """Called in the thread of the request's reader when there is something new."""
    streaming: bool = False
    """Woken on every part, not only at the end."""
    arrived: float = field(default_factory=time.monotonic)
    failure: ApiError | None = field(default=None, init=False)
    """Why it ended early."""
    admitted: bool = field(default=False, init=False)
    """A text of it has left the queue."""
    begun: bool = field(default=False, init=False)
    """Its first token is there."""
    open: int = field(init=False)
    """How many of its texts have not ended."""

    def __post_init__(self) -> None:
        self.open = len(self.texts)

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.failure is not None or self.open == 0

    def settle(self) -> None:
        """Let all that was drawn become text that can be read."""
        for text in self.texts:
            text.settle()


@dataclass(frozen=True, eq=False)
class Ticket:
    """One text of a request, on its way through the engine."""

    request: Request
    text: Text

    @property
    def tokens(self) -> int:
        """What it takes of the bound on the queue."""
        return len(self.text.ids) + self.text.sampling.max_new_tokens


class Queue:
    """Tickets in the order they came, bounded in texts and in tokens. Safe to use from several threads."""

    def __init__(self, config: ServeConfig) -> None:
        self.most, self.most_tokens = config.max_queue, config.max_queue_tokens
        self.tokens = 0
        self._tickets: deque[Ticket] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tickets)

    def put(self, request: Request) -> None:
        """Take all texts of a request or none: ApiError (503) when there is no room, (400) when there never is."""
        tickets = [Ticket(request, text) for text in request.texts]
        tokens = sum(ticket.tokens for ticket in tickets)
        if len(tickets) > self.most or tokens > self.most_tokens:
            asked = f"the request comes to {len(tickets)} texts and {tokens:,} tokens"
            limit = f"this server takes {self.most:,} texts and {self.most_tokens:,} tokens at once"
            raise ApiError(400, f"{asked}; {limit}", code="too_large")
        with self._lock:
            if len(self) + len(tickets) > self.most or self.tokens + tokens > self.most_tokens:
                raise busy(f"{len(self)} texts and {self.tokens:,} tokens wait already")
            self._tickets.extend(tickets)
            self.tokens += tokens

    def waiting(self) -> list[Ticket]:
        """All tickets, the oldest first."""
        with self._lock:
            return list(self._tickets)

    def remove(self, ticket: Ticket) -> None:
        """Take one ticket out."""
        with self._lock:
            self._tickets.remove(ticket)
            self.tokens -= ticket.tokens

    def drop(self, request: Request) -> None:
        """Take out what is left of a request."""
        for ticket in self.waiting():
            if ticket.request is request:
                self.remove(ticket)
