"""What is said to a client that does not get what it asked for, in the OpenAI API's shape."""

import json
from typing import Any


class ApiError(Exception):
    """An answer that is an error: `status` and the fields of `{"error": {message, type, param, code}}`.

    What would fail again is 4xx. Clients try again after 408, 409, 429 and any 5xx, so those say that it may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry_after = status, message, code, param, retry_after

    @property
    def type(self) -> str:
        """Whose fault it is: the request's, the key's, or the server's."""
        kinds = {401: "authentication_error", 403: "permission_error"}
        return kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def document(self) -> dict[str, Any]:
        """The body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def body(self) -> bytes:
        """The body as bytes, in ASCII: whatever the message quotes, it can be sent."""
        return json.dumps(self.document()).encode("ascii")

    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        headers = {"content-type": "application/json"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def busy(reason: str, retry_after: int = 1) -> ApiError:
    """503: nothing is wrong with the request, and a moment later it will do."""
    return ApiError(503, f"{reason}; try again in {retry_after} s", code="overloaded", retry_after=retry_after)


def short(text: str, most: int = 80) -> str:
    """A value from outside as an error may quote it.

    >>> short("a\\nb"), short("x" * 9, 4)
    ("'a\\\\nb'", "'xxxx'...")
    """
    return repr(text) if len(text) <= most else f"{text[:most]!r}..."
