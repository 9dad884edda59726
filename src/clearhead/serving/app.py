"""The application: routes, the shape of every error, and the guard around it all."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from clearhead import __version__
from clearhead.serving import openai, status, tokens
from clearhead.serving.errors import ApiError
from clearhead.serving.refusals import HANDLERS, respond
from clearhead.serving.schema import explain
from clearhead.serving.security import App, Guard, Policy
from clearhead.serving.service import Service

log = logging.getLogger("clearhead.serving")


class Problem(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """The body of every answer that is an error."""

    error: Problem


ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorDocument}, "5XX": {"model": ErrorDocument}}


def build_app(service: Service, policy: Policy) -> App:
    """The ASGI application of a service."""
    return Guard(build_routes(service), policy)


def build_routes(service: Service) -> FastAPI:
    """The same without its guard, for an application that has one."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    # The pages that FastAPI makes of the OpenAPI document load code from elsewhere, so there are none.
    app = FastAPI(
        title="Clearhead",
        version=__version__,
        description="Small language models behind a part of the OpenAI API.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
    )
    app.state.service = service
    for routes in (openai, tokens, status):
        app.include_router(routes.router)
    for kind, handler in {**HANDLERS, RequestValidationError: _invalid}.items():
        app.add_exception_handler(kind, handler)
    return app


async def _invalid(http: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    message, field = explain(error.errors())
    return respond(ApiError(400, message, param=field))
