"""All that a server is made of, and the way of a request through it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request as HttpRequest

from clearhead.config import ServeConfig
from clearhead.runs.directory import RunDirectory
from clearhead.serving.engine import Engine
from clearhead.serving.metrics import Metrics
from clearhead.serving.pending import Pending
from clearhead.serving.shelf import Loaded, Shelf
from clearhead.serving.template import Template
from clearhead.serving.writing import Text


class Service:
    """The runs, the engine and the counts of one server."""

    def __init__(self, runs: Sequence[RunDirectory], config: ServeConfig, template: Template | None = None) -> None:
        self.config, self.template = config, template
        self.metrics = Metrics()
        self.shelf = Shelf(runs, config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.engine = Engine(config, self.metrics, self._post)
        self.metrics.gauges["models_loaded"] = ("Runs in memory.", lambda: self.shelf.loaded)

    def start(self) -> None:
        """Begin to write; called in the event loop that answers."""
        self._loop = asyncio.get_running_loop()
        self.engine.start()

    async def stop(self) -> None:
        """End the engine; what is still open is told so."""
        await asyncio.to_thread(self.engine.stop)

    async def ask(self, model: str, texts: Callable[[Loaded], list[Text]], *, streaming: bool = False) -> Pending:
        """Hand the texts that are wanted of a model to the engine; ApiError for whatever stands against it."""
        loaded = await self.shelf.take(model)
        try:
            return Pending(self.engine, texts(loaded), loaded, self.shelf, streaming=streaming)
        except BaseException:
            self.shelf.release(loaded)
            raise

    def _post(self, call: Callable[..., Any], *arguments: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(call, *arguments)


def service_of(http: HttpRequest) -> Service:
    """The service that a request came to."""
    return http.app.state.service
