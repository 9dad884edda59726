"""A request on its way: handed to the engine, read in the event loop, given up when the client has gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from clearhead.serving.engine import Engine
from clearhead.serving.shelf import Loaded, Shelf
from clearhead.serving.tickets import Request
from clearhead.serving.writing import Part, Text

Result = TypeVar("Result")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """Nobody is there any more to be answered."""


class Pending:
    """Texts that the engine writes for one client. `close` must be called in the end, whatever happens."""

    def __init__(self, engine: Engine, texts: list[Text], loaded: Loaded, shelf: Shelf, *, streaming: bool) -> None:
        """Submit the texts; ApiError when there is no room. The run is given back by `close`, or here on a refusal."""
        self.engine, self.loaded, self.shelf = engine, loaded, shelf
        self._news = asyncio.Event()
        deadline = time.monotonic() + engine.config.time_limit
        self.request = Request(loaded.lane, texts, deadline, self._news.set, streaming)
        self._closed = False
        engine.submit(self.request)

    def close(self) -> None:
        """Cancel what has not ended, and give the run back."""
        if not self._closed:
            self._closed = True
            self.engine.cancel(self.request)
            self.shelf.release(self.loaded)

    async def news(self) -> list[tuple[int, Part]]:
        """Wait; what has come since, with the number of its text. ApiError when the request has failed."""
        await self._news.wait()
        self._news.clear()
        if self.request.failure is not None:
            raise self.request.failure
        parts = enumerate(text.read() for text in self.request.texts)
        return [(number, part) for number, part in parts if part.text or part.scored or part.finish]

    async def whole(self) -> list[Part]:
        """Wait for the end; every text in one part."""
        while not self.request.done:
            await self._news.wait()
            self._news.clear()
        if self.request.failure is not None:
            raise self.request.failure
        return [text.read() for text in self.request.texts]


async def unless_gone(result: Awaitable[Result], receive: Receive) -> Result:
    """Wait for a result; ClientGoneError when the client leaves before it is there."""
    waiting, leaving = asyncio.ensure_future(result), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise ClientGoneError
    finally:
        waiting.cancel()
        leaving.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
