"""The key that opens a server: as a program's header, as a page's cookie, and in the link that sets the cookie."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from clearhead.serving.errors import ApiError

PARAMETER = "token"
"""What holds the key in a link."""


def check_key(headers: Mapping[str, str], keys: Sequence[str], cookie: str | None) -> None:
    """ApiError (401) unless the headers hold one of the keys: after `Bearer`, or in the cookie of a page."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        key = _in_cookie(headers.get("cookie", ""), cookie) if cookie and not scheme else ""
    if not is_key(key, keys):
        how = "open the link that clearhead studio printed" if cookie else "send Authorization: Bearer KEY"
        raise ApiError(401, f"the key is missing or wrong; {how}", code="invalid_api_key")


def is_key(given: str, keys: Sequence[str]) -> bool:
    """Whether it is one of the keys. Digests are of one length, and every key is compared: the time tells nothing."""
    digest = hashlib.sha256(given.strip().encode("utf-8", "surrogatepass")).digest()
    equal = [hmac.compare_digest(digest, hashlib.sha256(mine.encode()).digest()) for mine in keys]
    return any(equal)


def _in_cookie(header: str, name: str) -> str:
    """The value of a cookie; the first where it comes twice."""
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return next((value for found, _, value in pairs if found == name), "")


def take_key(query: bytes) -> tuple[str | None, str]:
    """The key in a link's query, None where it names none, and the query without it.

    >>> take_key(b"a=1&token=secret"), take_key(b"a=1")
    (('secret', 'a=1'), (None, 'a=1'))
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None)
    keys = [value for name, value in pairs if name == PARAMETER]
    return (keys[0] if keys else None), urlencode([pair for pair in pairs if pair[0] != PARAMETER])


def entered(key: str, cookie: str, query: str) -> list[tuple[bytes, bytes]]:
    """The headers that keep a key in a browser, where scripts cannot read it, and lead to the page without it."""
    value = f"{cookie}={key}; HttpOnly; SameSite=Strict; Path=/"
    return [
        (b"location", f"/?{query}".rstrip("?").encode()),
        (b"set-cookie", value.encode()),
        (b"content-length", b"0"),
    ]
