"""A server for tests: tiny runs, a port of its own, a thread; and the plain HTTP that clients hide."""

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clearhead.config import ServeConfig
from clearhead.runs.directory import RunDirectory
from clearhead.serving.security import policy_for
from clearhead.serving.server import Server
from clearhead.serving.service import Service
from clearhead.serving.template import Template

VERSE = "Der Wind ging über die Höhe — 風 und Regen, 雨 und 😀 Freude.\nŁódź liegt still, és a szél énekel.\n"
"""Characters of one to four bytes, none of ours in ASCII alone."""
POEM = (
    "The wind went over the hill and the hill was still,\n"
    "and the rain came after the wind and sang on the sill.\n"
    "I love dogs, said the child, and the dogs love me;\n"
)


def make_runs(folder: Path) -> Path:
    """Three runs: `poem` (a GPT of characters), `verse` (counted bytes that have learned VERSE by heart), `names`
    (a GPT whose documents end with end-of-text)."""
    import clearhead

    files = {"poem": POEM * 40, "verse": VERSE * 60, "names": "anna\nemma\nolivia\nava\nmia\nsophia\n" * 30}
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    out: Any = {"out": folder / "runs", "progress": False}
    small: Any = {"n_embd": 32, "n_head": 2, "n_layer": 2, "block_size": 32, "batch_size": 8, "eval_iters": 1}
    small |= {"max_iters": 30, "warmup_iters": 3, "device": "cpu"}
    clearhead.train(folder / "poem.txt", name="poem", **small, **out)
    clearhead.train(folder / "verse.txt", name="verse", model="ngram", order=12, tokenizer="byte", **out)
    clearhead.train(folder / "names.txt", name="names", lines=True, **small, **out)
    return folder / "runs"


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Of an error in the OpenAI API's shape, which is checked here."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert "\n" not in error["message"]
        return error["code"]


def exchange(port: int, method: str, path: str, data: bytes | None, headers: dict[str, str], timeout: float) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


@dataclass
class Live:
    """A server that answers."""

    server: Server
    address: str

    @property
    def service(self) -> Service:
        return self.server.service

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port is not None
        return port

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 30
    ) -> Answer:
        """A request on a connection of its own; a body that is not bytes is sent as JSON."""
        kind = {"content-type": "application/json"} if body is not None else {}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return exchange(self.port, method, path, data, {**kind, **(headers or {})}, timeout)

    def complete(self, *, timeout: float = 60, **asked: Any) -> Answer:
        """A completion of `poem`, unless another is named."""
        asked = {"model": "poem", "prompt": "The ", "seed": 1, **asked}
        return self.ask("POST", "/v1/completions", asked, timeout=timeout)

    def stream(self, **asked: Any) -> list[Any]:
        """The chunks of a streamed completion; that the stream is well-formed is checked here."""
        answer = self.complete(stream=True, **asked)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.body.isascii()
        *lines, last, end = answer.body.decode().split("\n\n")
        assert (last, end) == ("data: [DONE]", "")
        assert all(line.startswith("data: ") and "\n" not in line for line in lines), "no id:, no event:"
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@contextmanager
def serving(
    runs: Sequence[Path], template: Template | None = None, keys: tuple[str, ...] = (), **settings: Any
) -> Iterator[Live]:
    """A server for some runs, in a thread."""
    config = ServeConfig(port=0, **settings)
    policy = policy_for(config.host, config.allowed_hosts, keys, config.max_body << 10)
    answers, ready = [], threading.Event()

    def note(address: str) -> None:
        answers.append(address)
        ready.set()

    server = Server(Service([RunDirectory(run) for run in runs], config, template), policy, note)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield Live(server, answers[0])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
