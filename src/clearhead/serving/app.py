"""The application: routes, the shape of every error, and the guard around it all."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from clearhead import __version__
from clearhead.serving import openai, status, tokens
from clearhead.serving.errors import ApiError
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
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _respond(refusal: ApiError) -> Response:
    return Response(refusal.body(), refusal.status, refusal.headers())


async def _refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _respond(error)


async def _invalid(http: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    message, field = explain(error.errors())
    return _respond(ApiError(400, message, param=field))


async def _http_error(http: Request, error: Exception) -> Response:
    """A path or a method that is none."""
    assert isinstance(error, HTTPException)
    response = _respond(ApiError(error.status_code, f"{http.method} does not lead anywhere here: {error.detail}"))
    response.headers.update(error.headers or {})
    return response


async def _unexpected(http: Request, error: Exception) -> Response:
    """A fault of ours: the log has it (the server writes it there), the client learns that it is not theirs."""
    return _respond(ApiError(500, "the server failed on this request; its log says why"))
