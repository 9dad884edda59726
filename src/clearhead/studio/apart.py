"""Work in threads that nobody waits for at the end: a server that is told to stop does not sit out a long look."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from clearhead.serving.errors import busy

Result = TypeVar("Result")


class Lane:
    """One piece of work at a time, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._worker: threading.Thread | None = None
        self._give_up: Callable[[], None] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether work is being done."""
        return self._worker is not None and self._worker.is_alive()

    def close(self) -> None:
        """Whoever waits is told that the studio closes; what is being done is left to itself."""
        self._closed = True
        if self._give_up is not None:
            self._give_up()

    async def do(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """What a call returns or raises; the loop goes on meanwhile. ApiError (503) when the studio closes."""
        async with self._turn:
            if self._closed:
                raise busy("the studio closes")
            try:
                return await self._begin(call, *arguments)
            finally:
                self._give_up = None

    def _begin(self, call: Callable[..., Result], *arguments: Any) -> "asyncio.Future[Result]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def tell(say: Callable[[Any], None], value: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: done.done() or say(value))  # once is enough

        def work() -> None:
            try:
                tell(done.set_result, call(*arguments))
            except Exception as error:
                tell(done.set_exception, error)

        self._give_up = lambda: tell(done.set_exception, busy("the studio closes"))
        self._worker = threading.Thread(target=work, name="look", daemon=True)
        self._worker.start()
        return done
