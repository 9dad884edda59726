"""The studio's application: routes, the shape of every error, and the guard around it all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead import __version__
from clearhead.config import PRESETS
from clearhead.errors import ClearheadError
from clearhead.registry import names
from clearhead.serving.errors import ApiError
from clearhead.serving.refusals import HANDLERS, respond
from clearhead.serving.security import App, Guard, Policy
from clearhead.studio import page, routes_lessons, routes_looks, routes_runs, routes_texts
from clearhead.studio.openai import OpenAI
from clearhead.studio.replies import reply
from clearhead.studio.studio import Studio, studio_of
from clearhead.studio.texts import ENCODINGS

TIME = 60
"""Seconds that a training from the page takes unless another time is chosen."""


def build_app(studio: Studio, policy: Policy) -> App:
    """The ASGI application of a studio."""
    openai = OpenAI(studio)
    studio.on_close.append(openai.drain)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await openai.close()

    routes = [Route("/api/state", state), Route("/v1/{route:path}", openai)]
    for module in (page, routes_texts, routes_runs, routes_looks, routes_lessons):
        routes += module.ROUTES
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={**HANDLERS, ClearheadError: _complained})  # type: ignore[arg-type]
    app.state.studio = studio
    return Guard(app, policy)


async def state(http: Request) -> Response:
    """What the page asks first."""
    studio = studio_of(http)
    return reply(
        {
            "version": __version__,
            "out": str(studio.out),
            "texts": [text.to_dict() for text in studio.texts.all()],
            "defaults": {"time": TIME},
            "presets": sorted(PRESETS),
            "models": names("models"),
            "encodings": list(ENCODINGS),
        }
    )


async def _complained(http: Request, error: Exception) -> Response:
    """What the command line would say, in its words."""
    assert isinstance(error, ClearheadError)
    return respond(ApiError(400 if error.exit_code == 2 else 500, str(error), code=type(error).__name__))
