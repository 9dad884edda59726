"""Localhost is not a wall: who may ask, from where, with what; and what every answer carries."""

import asyncio
import logging
from pathlib import Path

import pytest

from clearhead.errors import ConfigError
from clearhead.serving.security import Guard, policy_for
from serving.live import Live, serving

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
KEY = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "2130706433",
        "",
        "[::1",
        "[evil]",
        "@127.0.0.1",
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/metrics", "/openapi.json", "/nowhere"])
def test_another_host_is_refused(live: Live, host: str, path: str):
    """DNS rebinding: the page's own name points to 127.0.0.1, but its browser still sends that name."""
    answer = live.ask("GET", path, headers={"Host": host})
    assert answer.status in (400, 403)
    assert b"poem" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:9", "[::1]:80", "localhost."])
def test_our_own_hosts_are_served_behind_any_port(live: Live, host: str):
    assert live.ask("GET", "/v1/models", headers={"Host": host}).status == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost",
        "http://127.0.0.1:1",
        "https://",
        "http://localhost:PORT@evil",
        "file://",
    ],
)
def test_another_origin_is_refused_whatever_the_method(live: Live, method: str, origin: str):
    body = {"model": "poem"} if method in ("POST", "PUT", "PATCH") else None
    answer = live.ask(method, "/v1/completions", body, {"Origin": origin.replace("PORT", str(live.port))})
    assert answer.status == 403
    if method != "HEAD":
        assert answer.code == "foreign_origin"


def test_our_own_origin_may_ask(live: Live):
    headers = {"Origin": f"http://127.0.0.1:{live.port}", "Sec-Fetch-Site": "same-origin"}
    assert live.ask("POST", "/v1/completions", {"model": "poem", "max_tokens": 1}, headers).status == 200
    other = live.ask("POST", "/v1/completions", {"model": "poem", "max_tokens": 1}, {"Sec-Fetch-Site": "cross-site"})
    assert (other.status, other.code) == (403, "foreign_origin")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "text/plain; application/json",
    ],
)
def test_a_body_says_that_it_is_json(live: Live, kind: str):
    answer = live.ask("POST", "/v1/completions", b'{"model": "poem"}', {"content-type": kind})
    assert answer.status == 415
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_no_other_site_may_read(live: Live):
    for method, path in (
        ("GET", "/v1/models"),
        ("OPTIONS", "/v1/completions"),
        ("GET", "/nowhere"),
        ("GET", "/metrics"),
    ):
        answer = live.ask(method, path)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
    for path in ("/docs", "/redoc"):
        assert live.ask("GET", path).status == 404, "those pages load code from elsewhere"


@pytest.mark.parametrize("name", [b"host", b"origin", b"content-type", b"authorization", b"content-length"])
def test_a_header_that_counts_is_there_once(name: bytes):
    """Two readers of one request must not see two different requests."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"2")]
    headers += [(name, b"x"), (name, b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": headers}
    sent = asyncio.run(pass_by(scope, keys=(KEY,)))
    assert sent[0]["status"] == 400


def test_a_web_socket_is_closed():
    assert asyncio.run(pass_by({"type": "websocket", "path": "/", "headers": []})) == [
        {"type": "websocket.close", "code": 1008}
    ]


async def pass_by(scope: dict, keys: tuple[str, ...] = ()) -> list[dict]:
    """What the guard sends by itself; the application behind it must not be reached."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    async def application(scope, receive, send):
        raise AssertionError("let through")

    await Guard(application, policy_for("127.0.0.1", (), keys, 1_000))(scope, receive, send)
    return sent


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_another_address_needs_a_key(host: str):
    with pytest.raises(ConfigError, match="key_file"):
        policy_for(host, ("example.org",), (), 1)
    policy = policy_for(host, ("example.org",), (KEY,), 1)
    assert "example.org" in policy.hosts
    assert KEY not in repr(policy)


def test_an_address_without_a_name_needs_the_names():
    with pytest.raises(ConfigError, match="allowed_hosts"):
        policy_for("0.0.0.0", (), (KEY,), 1)
    with pytest.raises(ConfigError, match="16 printable"):
        policy_for("127.0.0.1", (), ("short",), 1)


def test_keys_open_and_are_never_told(served_runs: Path, caplog: pytest.LogCaptureFixture, capfd):
    with caplog.at_level(logging.DEBUG), serving([served_runs / "poem"], keys=(KEY, KEY[::-1])) as live:
        asked = {"model": "poem", "max_tokens": 1}
        for sent in ({}, {"Authorization": KEY}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": "Bearer "}):
            for method, path, body in (
                ("POST", "/v1/completions", asked),
                ("GET", "/v1/models", None),
                ("GET", "/metrics", None),
            ):
                answer = live.ask(method, path, body, sent)
                assert (answer.status, answer.code) == (401, "invalid_api_key")
                assert answer.headers["www-authenticate"] == "Bearer"
                assert KEY not in answer.body.decode()
        for key in (KEY, KEY[::-1]):
            headers = {"Authorization": f"Bearer {key}"}
            assert live.ask("POST", "/v1/completions", asked, headers).status == 200
            assert KEY not in live.ask("POST", "/v1/completions", b"{", headers).body.decode()
        assert live.ask("GET", "/health").status == live.ask("GET", "/ready").status == 200
    said = capfd.readouterr()
    assert KEY not in caplog.text + said.out + said.err
