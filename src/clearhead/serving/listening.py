"""An application on a port: ready, answering, drained. Whoever listens decides what it tells when it must stop."""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from clearhead.errors import ConfigError
from clearhead.serving.security import App

BACKLOG = 2_048
"""Connections that may wait to be accepted."""


class Listener(uvicorn.Server):
    """Answers on a socket until it is told to stop; then finishes what is open, for `drain` seconds at most."""

    def __init__(
        self,
        app: App,
        listening: socket.socket,
        *,
        drain: float,
        ready: Callable[[str], None],
        stopping: Callable[[], None],
    ) -> None:
        """`ready` is called with the address once it answers, `stopping` when it is told to stop."""
        self.ready, self.stopping, self.socket = ready, stopping, listening
        super().__init__(
            uvicorn.Config(
                app,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=max(1, round(drain)),
            )
        )

    @property
    def address(self) -> str:
        """Where it listens, as a URL."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_forever(self) -> None:
        """Answer until a signal or `should_exit`; a second Ctrl-C does not wait."""
        self.run(sockets=[self.socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self.ready(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to answer, whoever asked for it."""
        self.stopping()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop: from now on nothing new is taken. SIGTERM that is obeyed is no failure."""
        self.stopping()
        super().handle_exit(sig, frame)
        if sig == signal.SIGTERM:
            self._captured_signals.remove(sig)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigError when there is none to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error}; choose another --port or --host") from None
    return listener
