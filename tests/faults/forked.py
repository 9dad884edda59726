"""Processes that cost milliseconds: one warmed-up process imports all that is needed, and forks a child per command.

Run as a script it serves: a JSON request a line on standard input, a JSON answer a line on standard output. A child
runs the real `clearhead` command line; it is a process of its own and is killed as such. Linux only.
"""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

KILLED = -signal.SIGKILL
PATIENCE = 120.0
"""Seconds after which a child hangs."""


@dataclass(frozen=True)
class Ended:
    """What became of a child."""

    code: int
    """Its exit code, negative when a signal ended it."""
    seconds: float
    told: str
    """All that it said."""


class Child:
    """A running command. Its `pid` is a real one."""

    def __init__(self, forker: "Forker", pid: int, told: Path) -> None:
        self.pid, self._forker, self._told, self._begun = pid, forker, told, time.monotonic()
        self._ended: Ended | None = None

    def wait(self, seconds: float = PATIENCE) -> Ended | None:
        """What became of it; None while it still runs after that many seconds."""
        if self._ended is None:
            code = self._forker.ask(do="wait", pid=self.pid, seconds=seconds)["code"]
            if code is not None:
                told = self._told.read_text(encoding="utf-8", errors="replace")
                self._ended = Ended(code, time.monotonic() - self._begun, told)
        return self._ended

    def end(self, seconds: float = PATIENCE) -> Ended:
        """What became of it; a child that hangs is killed, and is an AssertionError with its last words."""
        if ended := self.wait(seconds):
            return ended
        killed = self.kill()
        raise AssertionError(f"a child hung for {seconds:.0f} s: {killed.told[-2_000:]}")

    def kill(self) -> Ended:
        """SIGKILL, if it still runs."""
        self._forker.ask(do="signal", pid=self.pid, number=signal.SIGKILL)
        ended = self.wait()
        assert ended is not None
        return ended


class Forker:
    """The client of a warmed-up process; a context manager that ends it and all its children."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self._count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        told = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=told
        )

    def start(self, words: Sequence[str], hook: str | None = None, **given: Any) -> Child:
        """Begin `clearhead WORDS` in a child. A `hook`, "module:function", is called in it first with what is given."""
        self._count += 1
        told = self._folder / f"told-{self._count}.txt"
        answer = self.ask(do="start", words=[str(word) for word in words], hook=hook, given=given, told=str(told))
        return Child(self, answer["pid"], told)

    def run(self, words: Sequence[str], hook: str | None = None, **given: Any) -> Ended:
        """A command from its beginning to its end."""
        return self.start(words, hook, **given).end()

    def ask(self, **request: Any) -> dict[str, Any]:
        """An answer of the warmed-up process."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE)


class _Server:
    """The warmed-up process."""

    def __init__(self) -> None:
        self.running: dict[int, int] = {}
        """pid -> a handle that becomes readable when the child ends."""

    def serve(self) -> None:
        for line in sys.stdin:
            request = json.loads(line)
            answer = getattr(self, f"_{request.pop('do')}")(**request)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        for pid in self.running:
            os.kill(pid, signal.SIGKILL)

    def _start(self, words: list[str], hook: str | None, given: dict[str, Any], told: str) -> dict[str, Any]:
        if (pid := os.fork()) == 0:
            _live(words, hook, given, told)
        self.running[pid] = os.pidfd_open(pid)
        return {"pid": pid}

    def _signal(self, pid: int, number: int) -> dict[str, Any]:
        if pid in self.running:  # until it is waited for, its number is nobody else's
            os.kill(pid, number)
        return {}

    def _wait(self, pid: int, seconds: float) -> dict[str, Any]:
        if not select.select([self.running[pid]], [], [], seconds)[0]:
            return {"code": None}
        os.close(self.running.pop(pid))
        return {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


def _live(words: list[str], hook: str | None, given: dict[str, Any], told: str) -> None:
    """The life of a child: the command line, as `python -m clearhead` runs it."""
    stream = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    code = 70
    try:
        if hook:
            module, _, function = hook.partition(":")
            getattr(importlib.import_module(module), function)(**given)
        from clearhead.cli.main import main

        code = main(words)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _warm_up() -> None:
    """Import and compile what a training needs. Nothing is computed: a fork takes no thread along."""
    from clearhead.runtime import share_cores

    share_cores()
    for name in ("api", "cli.train", "cli.resume", "cli.report", "training.console"):
        importlib.import_module(f"clearhead.{name}")
    import torch._dynamo  # noqa: F401

    from clearhead.models.compiling import library
    from clearhead.training.sinks import TensorBoard

    if TensorBoard.available():
        importlib.import_module("torch.utils.tensorboard.writer")
    library()


if __name__ == "__main__":
    _warm_up()
    _Server().serve()
