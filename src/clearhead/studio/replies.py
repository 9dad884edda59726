"""What requests hold and what is answered: JSON both ways, checked field by field."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from clearhead.errors import did_you_mean
from clearhead.fields import finite
from clearhead.serving.errors import ApiError

JSON = "application/json"
PACKED = "application/octet-stream"
"""Arrays as `packed` writes them."""
Kinds = type | tuple[type, ...]


def reply(document: Any, status: int = 200) -> Response:
    """A document as JSON in ASCII: whatever a text holds, it can be sent. What is not finite is null."""
    return Response(to_json(document), status, media_type=JSON)


def to_json(document: Any) -> bytes:
    """The bytes of a document."""
    return json.dumps(finite(document), allow_nan=False, separators=(",", ":")).encode("ascii")


async def read(http: Request, must: Mapping[str, Kinds], may: Mapping[str, Kinds] | None = None) -> dict[str, Any]:
    """The fields of a request's body; None for those that may be missing. ApiError (400) for what does not fit."""
    body = json.loads(await http.body() or b"null")  # the guard has checked that it is JSON
    if not isinstance(body, dict):
        raise ApiError(400, "the body is no JSON object; send {...}")
    known = {**must, **(may or {})}
    for name in body:
        if name not in known:
            raise ApiError(400, f"unknown field '{name}': {did_you_mean(name, known)}", param=name)
    for name in must:
        if body.get(name) is None:
            raise ApiError(400, f"the field '{name}' is missing", param=name)
    return {name: _checked(name, body.get(name), kinds) for name, kinds in known.items()}


def _checked(name: str, value: Any, kinds: Kinds) -> Any:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if value is None or type(value) in kinds:
        return value
    if float in kinds and type(value) is int:
        return float(value)
    wanted = " or ".join(kind.__name__ for kind in kinds)
    raise ApiError(400, f"{name}={value!r:.80} has the wrong type; it wants {wanted}", param=name)


def query(http: Request, **kinds: Any) -> dict[str, Any]:
    """The parameters of a request's address, each by its own reader; those that are missing are left out."""
    found: dict[str, Any] = {}
    for name, value in http.query_params.items():
        if name not in kinds:
            raise ApiError(400, f"unknown parameter '{name}': {did_you_mean(name, kinds)}", param=name)
        try:
            found[name] = kinds[name](value)
        except ValueError:
            raise ApiError(400, f"{name}={value!r:.80} cannot be read; it wants a number", param=name) from None
    return found
