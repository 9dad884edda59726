"""From a folder of runs to a studio on a port."""

import secrets
from collections.abc import Callable
from pathlib import Path

from clearhead.serving.keys import PARAMETER
from clearhead.serving.listening import Listener, listen
from clearhead.serving.security import LOOPBACK_NAMES, PAGE_CSP, Policy
from clearhead.studio.app import build_app
from clearhead.studio.studio import Studio

HOST = "127.0.0.1"
"""This machine alone: who trains here decides about its processor and its files."""
MAX_BODY = 4 << 20
DRAIN = 3.0
"""Seconds for answers that are being made when the server is told to stop."""


class StudioServer(Listener):
    """Answers one browser, or several, until it is told to stop. What trains goes on."""

    def __init__(self, out: Path, port: int, ready: Callable[[str], None]) -> None:
        """`ready` is called with the link that opens the page. ConfigError when the port is not to be had."""
        self.studio, self.token = Studio(out), secrets.token_urlsafe(24)
        listening = listen(HOST, port)
        policy = Policy(
            frozenset(LOOPBACK_NAMES),
            keys=(self.token,),
            open_paths=frozenset(),
            max_body=MAX_BODY,
            csp=PAGE_CSP,
            cookie=f"clearhead-{listening.getsockname()[1]}",
        )
        super().__init__(
            build_app(self.studio, policy),
            listening,
            drain=DRAIN,
            ready=lambda address: ready(f"{address}/?{PARAMETER}={self.token}"),
            stopping=self.studio.close,
        )
