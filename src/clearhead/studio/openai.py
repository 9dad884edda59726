"""The OpenAI routes for all runs of the folder, built when the first request for them comes: they bring torch along."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from clearhead.config import ServeConfig
from clearhead.errors import ClearheadError
from clearhead.runs.directory import all_runs
from clearhead.studio.models import fingerprint
from clearhead.studio.studio import Studio

if TYPE_CHECKING:
    from clearhead.serving.service import Service
    from clearhead.serving.shelf import Shelf


class OpenAI:
    """An ASGI application that follows the folder: runs come, are trained on, and go."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._service: Service | None = None
        self._app: ASGIApp | None = None
        self._states: dict[str, Any] = {}
        self._building = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with self._building:
            if self._app is None:
                self._service, self._app = await asyncio.to_thread(_build)
                self._service.start()
        assert self._service is not None
        self._follow(self._service.shelf)
        await self._app(scope, receive, send)

    async def close(self) -> None:
        """End the thread that writes."""
        if self._service is not None:
            await self._service.stop()

    def drain(self) -> None:
        """Take nothing new."""
        if self._service is not None:
            self._service.engine.draining = True

    def _follow(self, shelf: "Shelf") -> None:
        """Register the runs that there are, forget those that are gone, and what others were before they trained on."""
        runs = {run.name: run for run in all_runs(self.studio.out)}
        states = {name: fingerprint(run) for name, run in runs.items() if run.steps()}
        for name in list(shelf.places):
            if states.get(name) != self._states.get(name):
                del shelf.places[name]  # whoever is being answered by it keeps it until then
        for name in states:
            if name not in shelf.places:
                with suppress(ClearheadError):  # broken, or too large: not served
                    shelf.register(runs[name])
        self._states = states


def _build() -> "tuple[Service, ASGIApp]":
    from clearhead.serving.app import build_routes
    from clearhead.serving.service import Service

    service = Service([], ServeConfig())
    return service, build_routes(service)
