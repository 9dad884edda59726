"""Who may ask: what every request passes before a route sees it. Shared by all that speaks HTTP here.

Any page in a browser can send requests to a server on this machine, and with a name that it lets point to 127.0.0.1
read the answers (DNS rebinding; Ollama, CVE-2024-28224). So the Host is one of ours, an Origin is this server's own,
a body says that it is JSON (which a form cannot), and no header permits another site to read.
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from clearhead.errors import ConfigError
from clearhead.serving.errors import ApiError, short
from clearhead.serving.keys import check_key, entered, is_key, take_key
from clearhead.serving.strict_json import check_json

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WITH_BODY = ("POST", "PUT", "PATCH")
BODY_SECONDS = 30.0
"""A body that takes longer than this to arrive is not waited for."""
LINGER_SECONDS = 5.0
"""How long a body that is too large is read and thrown away, so that the sender gets to see the refusal."""
SHORTEST_KEY = 16
DECIDING = frozenset({"host", "origin", "sec-fetch-site", "authorization", "cookie", "content-type", "content-length"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/\s]+))(?::\d*)?")
PAGE_CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; style-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For a page of ours: code and style from this server alone, none of it inside the page."""
CACHE = b"cache-control"
API_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers that are data: nothing in them may load, run or be framed."""


@dataclass(frozen=True)
class Policy:
    """What is let through."""

    hosts: frozenset[str]
    """Names and addresses, in lower case, that a Host header may hold; its port is not looked at."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """Any of them opens; none asks for none."""
    open_paths: frozenset[str] = frozenset({"/health", "/ready"})
    """Answered without a key."""
    max_body: int = 1 << 20
    """Bytes."""
    csp: str = API_CSP
    """The Content-Security-Policy of every answer."""
    cookie: str | None = None
    """A page's: the name of the cookie that holds a key, and that `GET /?token=KEY` sets. None for programs."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def policy_for(host: str, allowed_hosts: tuple[str, ...], keys: tuple[str, ...], max_body: int) -> Policy:
    """The policy of a server that listens on `host`; ConfigError where that would let strangers in."""
    for key in keys:
        if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(f"a key must have at least {SHORTEST_KEY} printable ASCII characters without spaces")
    hosts = {*LOOPBACK_NAMES, *(name.lower() for name in allowed_hosts)}
    if not is_loopback(host):
        if not keys:
            raise ConfigError(
                f"host={host} can be reached by other machines; add --key_file with a secret, or stay on 127.0.0.1"
            )
        if host not in ("0.0.0.0", "::"):
            hosts.add(host.lower())
        elif not allowed_hosts:
            raise ConfigError(
                f"host={host} has no name of its own; add --allowed_hosts with those that clients will use"
            )
    return Policy(frozenset(hosts), keys, max_body=max_body)


class Guard:
    """Passes on what the policy allows, and answers the rest itself; adds the headers of every answer.

    An ASGI application around another. A body is read here, whole, before anything is called.
    """

    def __init__(self, app: App, policy: Policy) -> None:
        self.app, self.policy = app, policy
        self.headers = security_headers(policy.csp)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a page could open a WebSocket from anywhere, and no route has one
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                said = any(name.lower() == CACHE for name, _ in own)  # a route may say that its answer can be kept
                message["headers"] = [*own, *(pair for pair in self.headers if not (said and pair[0] == CACHE))]
            await send(message)

        try:
            if (key := check_headers(scope, self.policy)) is not None:
                await send_guarded({"type": "http.response.start", "status": 303, "headers": key})
                await send_guarded({"type": "http.response.body"})
                return
            if scope["method"] in WITH_BODY:
                receive = await self._body(scope, receive)
        except ApiError as refusal:
            await refuse(refusal, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    async def _body(self, scope: Message, receive: Receive) -> Receive:
        """Read and check the body; what the application receives in its place."""
        try:
            body = await asyncio.wait_for(read_body(receive, self.policy.max_body), BODY_SECONDS)
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {BODY_SECONDS:.0f} s", code="timeout") from None
        check_json(body)
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()  # comes back when the client has gone
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay


def check_headers(scope: Message, policy: Policy) -> list[tuple[bytes, bytes]] | None:
    """ApiError unless Host, Origin, key and content type are as they must be.

    Headers to answer with at once where the key came in a link to a page, else None.
    """
    headers = _single_headers(scope["headers"])
    host, method, path = headers.get("host", ""), scope["method"], scope["path"]
    if _host_name(host) not in policy.hosts:
        raise ApiError(
            403,
            f"the host {short(host)} is not served here; use localhost, or start the server with --allowed_hosts",
            code="host_not_allowed",
        )
    reads = method in ("GET", "HEAD") and (policy.cookie is None or path == "/")
    _check_origin(headers.get("origin"), headers.get("sec-fetch-site"), host, anywhere=reads)
    if policy.cookie and method == "GET" and path == "/":
        key, query = take_key(scope.get("query_string", b""))
        if key is not None and is_key(key, policy.keys):
            return entered(key, policy.cookie, query)
        if key is not None:
            headers = {}  # a wrong key opens nothing, whatever was entered before
    if policy.keys and path not in policy.open_paths:
        check_key(headers, policy.keys, policy.cookie)
    if method in WITH_BODY:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, f"the content type {short(kind)} is not taken; send application/json")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:18]) > policy.max_body:
            raise _too_large(policy.max_body)
    return None


def _single_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that decide, by name; ApiError (400) where one comes twice, for readers could differ in which."""
    found: dict[str, str] = {}
    for raw, value in pairs:
        name = raw.decode("latin-1").lower()
        if name in found and name in DECIDING:
            raise ApiError(400, f"the header {name} was sent more than once; send it once")
        found[name] = value.decode("latin-1")
    return found


def _check_origin(origin: str | None, site: str | None, host: str, *, anywhere: bool) -> None:
    """A browser says where a request comes from; programs say nothing. `anywhere`: a link may lead here."""
    foreign = origin is not None and not _is_own(origin, host)
    if foreign or (site not in (None, "same-origin", "none") and not anywhere):
        raise ApiError(
            403, f"pages of {short(origin or 'another site')} may not use this server", code="foreign_origin"
        )


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() and not parts.path


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None for what is no host.

    >>> _host_name("[::1]:8000"), _host_name("Localhost:1"), _host_name("[::1")
    ('::1', 'localhost', None)
    """
    match = _HOST.fullmatch(host)
    return (match[1] or match[2]).lower().rstrip(".") if match else None


async def read_body(receive: Receive, most: int) -> bytes:
    """The whole body; ApiError as soon as it is longer than `most` bytes, or the client has gone."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "the connection closed before the body was whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is longer than {most:,} bytes; send less at once", code="body_too_large")


async def refuse(refusal: ApiError, receive: Receive, send: Send) -> None:
    """Send a refusal; one about a body while the rest of it still comes in, for a closed connection tells nothing."""
    headers = {**refusal.headers(), "content-length": str(len(refusal.body()))}
    if unread := refusal.status in (408, 413):
        headers["connection"] = "close"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": refusal.body(), "more_body": unread})
    if unread:
        with suppress(TimeoutError):
            await asyncio.wait_for(_discard(receive), LINGER_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        pass


def security_headers(csp: str) -> list[tuple[bytes, bytes]]:
    """What every answer carries. There is no Access-Control header: no other site may read."""
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", csp.encode()),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (CACHE, b"no-store"),
    ]
