"""Errors as answers: what every application here says when a request cannot be done, all in one shape."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from clearhead.serving.errors import ApiError


def respond(refusal: ApiError) -> Response:
    """The answer that a refusal is."""
    return Response(refusal.body(), refusal.status, refusal.headers())


async def refused(http: Request, error: Exception) -> Response:
    """What a route has refused."""
    assert isinstance(error, ApiError)
    return respond(error)


async def http_error(http: Request, error: Exception) -> Response:
    """A path or a method that is none."""
    assert isinstance(error, HTTPException)
    response = respond(ApiError(error.status_code, f"{http.method} does not lead anywhere here: {error.detail}"))
    response.headers.update(error.headers or {})
    return response


async def unexpected(http: Request, error: Exception) -> Response:
    """A fault of ours: the log has it (the server writes it there), the client learns that it is not theirs."""
    return respond(ApiError(500, "the server failed on this request; its log says why"))


HANDLERS = {ApiError: refused, HTTPException: http_error, Exception: unexpected}
