"""From a service to a server on a port: ready, answering, drained."""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from clearhead.errors import ConfigError
from clearhead.serving.app import build_app
from clearhead.serving.security import Policy
from clearhead.serving.service import Service

BACKLOG = 2_048
"""Connections that may wait to be accepted."""


class Server(uvicorn.Server):
    """Answers on a socket until it is told to stop; then refuses what is new and finishes what is open."""

    def __init__(self, service: Service, policy: Policy, ready: Callable[[str], None]) -> None:
        """`ready` is called with the address once it answers. ConfigError when the port is not to be had."""
        self.service, self.ready = service, ready
        self.socket = listen(service.config.host, service.config.port)
        super().__init__(
            uvicorn.Config(
                build_app(service, policy),
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=max(1, round(service.config.drain)),
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop: from now on nothing new is taken. SIGTERM that is obeyed is no failure."""
        self.service.engine.draining = True
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
