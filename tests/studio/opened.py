"""A studio for tests: a folder, a port of its own, a thread or a process; and the plain HTTP that browsers hide."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from clearhead.studio.server import StudioServer
from serving.live import Answer, exchange

PATIENCE = 60.0
"""Seconds that a test waits for what must come."""


@dataclass
class Client:
    """Somebody who has the link."""

    link: str

    @property
    def port(self) -> int:
        port = urlsplit(self.link).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)["token"][0]

    @property
    def key(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """A request with these headers alone, beside what says that a body is JSON."""
        kind = {"content-type": "application/json"} if method == "POST" else {}
        data = None if method == "GET" else body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return exchange(self.port, method, path, data, {**kind, **(headers or {})}, PATIENCE)

    def get(self, path: str, /, **query: Any) -> Any:
        """The document that must be answered."""
        answer = self.ask("GET", path + (f"?{urlencode(query, doseq=True)}" if query else ""), headers=self.key)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, /, **body: Any) -> Any:
        """The same to a POST."""
        answer = self.ask("POST", path, body, self.key)
        assert answer.status == 200, answer.body
        return answer.json

    def refused(self, method: str, path: str, /, **body: Any) -> tuple[int, str, str | None]:
        """Status, message and code of a refusal."""
        answer = self.ask(method, path, body, self.key)
        assert answer.status >= 400, answer.body
        return answer.status, answer.json["error"]["message"], answer.code

    def upload(self, name: str, data: bytes, piece: int = 1 << 20) -> Any:
        """A text in pieces; what is answered when it is whole."""
        from base64 import b64encode

        upload = self.post("/api/texts", name=name, size=len(data))["upload"]
        for at in range(0, len(data), piece):
            self.post(f"/api/texts/{upload}", offset=at, data=b64encode(data[at : at + piece]).decode())
        return self.ask("POST", f"/api/texts/{upload}/done", {}, self.key), upload

    def run(self, name: str) -> Any:
        """The row of a run."""
        (row,) = [row for row in self.get("/api/runs")["runs"] if row["name"] == name]
        return row

    def wait(self, name: str, until: Callable[[Any], bool]) -> Any:
        """The row of a run, when it is so."""
        end = time.monotonic() + PATIENCE
        while not until(row := self.run(name)):
            assert time.monotonic() < end, row
            time.sleep(0.1)
        return row

    @contextmanager
    def listening(self, **query: Any) -> Iterator[http.client.HTTPResponse]:
        """A stream of events that is open."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/api/stream?{urlencode(query)}", headers=self.key)
            yield connection.getresponse()
        finally:
            connection.close()


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """(name, document) of each event of a stream, until it ends."""
    name = ""
    for line in response:
        assert line.isascii()
        assert not line.startswith(b"id:")
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def address(*names: str) -> str:
    """The address of something of a run."""
    return "/api/runs/" + "/".join(quote(name, safe="") for name in names)


@contextmanager
def opened(out: Path) -> Iterator[Client]:
    """A studio in a thread."""
    links, ready = [], threading.Event()

    def note(link: str) -> None:
        links.append(link)
        ready.set()

    server = StudioServer(out, 0, note)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield Client(links[0])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@dataclass
class Program:
    """A studio in a process."""

    client: Client
    process: subprocess.Popen[str]

    def end(self, how: signal.Signals) -> int:
        """Send a signal; how the process ended."""
        self.process.send_signal(how)
        return self.process.wait(20)


@contextmanager
def started(out: Path) -> Iterator[Program]:
    """`clearhead studio` on a folder."""
    words = [sys.executable, "-m", "clearhead", "studio", "--out", str(out), "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+/\?token=\S{32})\n", process.stdout.readline())
    assert found
    try:
        yield Program(Client(found[1]), process)
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
