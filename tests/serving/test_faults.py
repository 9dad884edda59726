"""Faults 21 to 24: bodies that are none, crowds, readers who are slow or leave, names that lead elsewhere.

The full counts (1,000 clients, 200 that leave) are the slow suite's.
"""

import asyncio
import http.client
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from clearhead.serving.answers import EventStream
from clearhead.training.memory import resident
from serving.live import Live, serving


def gauge(live: Live, name: str) -> float:
    found = re.search(rf"^clearhead_{re.escape(name)} (\S+)$", live.ask("GET", "/metrics").body.decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def soon(condition: Callable[[], bool], seconds: float = 2.0) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return met


def idle(live: Live) -> bool:
    return gauge(live, "texts_running") == 0 and gauge(live, "texts_queued") == 0


# Fault 21: what is no request.

ROUTES = ["/v1/completions", "/v1/chat/completions", "/v1/tokenize", "/v1/score"]
BODIES = {
    "malformed": b'{"model": "poem", "prompt": ',
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "wrong types": b'{"model": 3, "prompt": {"a": 1}, "text": [], "messages": 1}',
    "NaN": b'{"model": "poem", "prompt": "a", "temperature": NaN}',
    "an infinity": b'{"model": "poem", "prompt": "a", "temperature": 1e999}',
    "half a surrogate": rb'{"model": "\ud800", "prompt": "\ud800", "text": "\ud800"}',
    "not UTF-8": b'{"model": "poem", "prompt": "\xff"}',
    "a NUL": rb'{"model": "po\u0000em", "prompt": "\u0000", "text": "\u0000"}',
    "deep": b"[" * 100_000,
    "deep objects": b'{"prompt":' * 50_000 + b"1" + b"}" * 50_000,
    "a long number": b'{"model": "poem", "max_tokens": ' + b"9" * 5_000 + b"}",
    "ids of no token": b'{"model": "poem", "prompt": [65535, 4294967296, 9223372036854775808], "ids": [99999]}',
    "ids below zero": b'{"model": "poem", "prompt": [-1], "ids": [-1]}',
    "two million": b'{"model": "poem", "prompt": "' + b"a" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", BODIES)
def test_what_is_no_request_is_4xx(live: Live, route: str, kind: str):
    answer = live.ask("POST", route, BODIES[kind])
    assert 400 <= answer.status < 500
    assert answer.status not in (408, 409, 429), "clients would try again"
    assert answer.code != "overloaded"
    assert live.complete(max_tokens=1).status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_100_mb_is_refused_unread(live: Live, chunked: bool):
    before, megabyte = resident() or 0, b" " * (1 << 20)
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    length = {} if chunked else {"content-length": str(100 << 20)}
    headers = {"content-type": "application/json", **length}
    connection.request("POST", "/v1/completions", iter([megabyte] * 100), headers, encode_chunked=chunked)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "body_too_large"
    connection.close()
    assert live.complete(max_tokens=1).status == 200
    assert (resident() or 0) - before < 60 << 20


def test_a_body_that_never_comes_holds_nobody_up(live: Live):
    with socket.create_connection(("127.0.0.1", live.port)) as slow:
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: 1000\r\n\r\n{")
        assert live.complete(max_tokens=1).status == 200
    for nonsense in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n"):
        with socket.create_connection(("127.0.0.1", live.port)) as client:
            client.sendall(nonsense)
    assert live.complete(max_tokens=1).status == 200


# Fault 22: a crowd.


def crowd(served_runs: Path, clients: int) -> Counter[int]:
    """Many at once, on a server with little room: only 200 or 503, and what is answered is what serves one alone."""
    with serving([served_runs / "poem"], slots=8, max_queue=max(16, clients // 10)) as live:
        prompts = ["The ", "and the ", "wind", "I love "]
        serial = [
            live.complete(prompt=prompt, temperature=0, max_tokens=10).json["choices"][0]["text"] for prompt in prompts
        ]
        before, start = resident() or 0, threading.Barrier(clients)

        def one(number: int) -> int:
            start.wait()
            answer = live.complete(
                prompt=prompts[number % 4],
                temperature=0,
                max_tokens=10,
            )
            if answer.status == 200:
                assert answer.json["choices"][0]["text"] == serial[number % 4]
            else:
                assert answer.code == "overloaded"
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status

        with ThreadPoolExecutor(clients) as pool:
            statuses = Counter(pool.map(one, range(clients)))
        assert set(statuses) <= {200, 503}
        assert idle(live)
        assert (resident() or 0) - before < 400 << 20
        return statuses


def test_a_crowd_gets_answers_or_is_told_to_come_back(served_runs: Path):
    statuses = crowd(served_runs, 60)
    assert statuses[200] >= 16


@pytest.mark.slow
def test_a_thousand_at_once(served_runs: Path):
    statuses = crowd(served_runs, 1_000)
    assert statuses[200] >= 100


# Fault 23: readers.


def leave(live: Live, *, stream: bool, seconds: float, tokens: int = 4_000, prompt: str = "The ") -> None:
    """Ask for a long text and hang up."""
    body = json.dumps({"model": "poem", "prompt": prompt, "max_tokens": tokens, "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", live.port)) as client:
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        time.sleep(seconds)


@pytest.mark.parametrize("stream", [False, True])
def test_slots_and_queue_are_free_when_readers_leave(served_runs: Path, stream: bool):
    long: Any = {
        "max_new_tokens": 20_000,
        "max_queue_tokens": 1 << 20,
    }  # written while the clients are there and longer
    with serving([served_runs / "poem"], slots=2, **long) as live:
        live.complete(max_tokens=1)
        with ThreadPoolExecutor(10) as pool:  # two are written, eight wait
            leaving = [pool.submit(leave, live, stream=stream, seconds=0.8, tokens=20_000) for _ in range(10)]
            assert soon(lambda: (gauge(live, "texts_running"), gauge(live, "texts_queued")) == (2, 8))
            for each in leaving:
                each.result()
        assert soon(lambda: idle(live))
        assert gauge(live, 'requests_total{outcome="cancelled"}') == 10
        assert live.complete(max_tokens=5).status == 200


def test_a_slow_reader_holds_no_slot(served_runs: Path):
    """The text is written at the pace of the model, and what the reader has not taken waits in memory."""
    with serving([served_runs / "poem"], slots=1, max_new_tokens=20_000) as live:
        body = json.dumps({"model": "poem", "max_tokens": 1_500, "logprobs": 5, "stream": True}).encode()
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", live.port))
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        assert soon(lambda: gauge(live, 'requests_total{outcome="finished"}') == 1, 60), "though nothing was read"
        assert live.complete(max_tokens=5).status == 200
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += slow.recv(1 << 16)
        slow.close()
        assert b"data: [DONE]" in received
        assert received.count(b'"finish_reason":"length"') == 1


def leavers(served_runs: Path, count: int) -> None:
    """Clients with a time limit of half a second, again and again; then one with patience."""
    with serving([served_runs / "poem"], slots=4) as live:
        live.complete(max_tokens=1)
        with ThreadPoolExecutor(20) as pool:
            for each in [
                pool.submit(leave, live, stream=bool(number % 2), seconds=0.5 * (number % 3 > 0))
                for number in range(count)
            ]:
                each.result()
        start = time.monotonic()
        assert live.complete(max_tokens=5, timeout=5).status == 200
        assert time.monotonic() - start < 5
        assert soon(lambda: idle(live))


def test_after_clients_that_left_one_is_answered(served_runs: Path):
    leavers(served_runs, 20)


@pytest.mark.slow
def test_after_two_hundred_that_left_one_is_answered(served_runs: Path):
    leavers(served_runs, 200)


# Fault 24: names.

NAMES = [
    "..",
    "../poem",
    "./poem",
    "/etc/passwd",
    "poem/../poem",
    "poem\0",
    "po\nem",
    "%2e%2e",
    "..%2fpoem",
    "link",
    "POEM",
    "poem ",
    "C:\\poem",
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_only_registered_names_lead_to_a_run(served_runs: Path, live: Live, name: str, request: pytest.FixtureRequest):
    if name == "link":
        os.symlink(served_runs / "poem", served_runs / "link")
        request.addfinalizer((served_runs / "link").unlink)
    for route, more in (
        ("/v1/completions", {"prompt": "a"}),
        ("/v1/tokenize", {"text": "a"}),
        ("/v1/score", {"text": "a"}),
    ):
        answer = live.ask("POST", route, {"model": name, **more})
        assert (answer.status, answer.code) == (404, "model_not_found")
    for escaped in (quote(name, safe=""), quote(quote(name, safe=""), safe="")):
        answer = live.ask("GET", f"/v1/models/{escaped}")
        assert answer.status in (307, 404)
        assert b"root:" not in answer.body
        assert b"created" not in answer.body


def test_a_body_that_is_slow_is_given_up(live: Live, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clearhead.serving.security.BODY_SECONDS", 0.2)
    monkeypatch.setattr("clearhead.serving.security.LINGER_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as slow:
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: 1000\r\n\r\n{")
        received = b""
        while more := slow.recv(1 << 16):
            received += more
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "timeout"' in received


def test_a_stream_that_nobody_reads_is_cut_off(caplog: pytest.LogCaptureFixture):
    """What it has written would be kept in memory for as long as the reader likes."""
    closed = []
    engine = SimpleNamespace(config=SimpleNamespace(time_limit=0.1))
    pending: Any = SimpleNamespace(engine=engine, close=lambda: closed.append(True))

    async def pieces():
        yield b"data: {}\n\n"

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    stream = EventStream(pending, pieces())
    asyncio.run(asyncio.wait_for(stream({"type": "http", "method": "POST", "headers": []}, never, never), 5))
    assert closed == [True]
    assert "has not taken its stream in 0.2 s" in caplog.text
