"""From a service to a server on a port."""

from collections.abc import Callable

from clearhead.serving.app import build_app
from clearhead.serving.listening import Listener, listen
from clearhead.serving.security import Policy
from clearhead.serving.service import Service


class Server(Listener):
    """Answers for a service; told to stop it refuses what is new and finishes what is open."""

    def __init__(self, service: Service, policy: Policy, ready: Callable[[str], None]) -> None:
        """`ready` is called with the address once it answers. ConfigError when the port is not to be had."""
        self.service = service
        config = service.config
        listening = listen(config.host, config.port)
        super().__init__(build_app(service, policy), listening, drain=config.drain, ready=ready, stopping=self._refuse)

    def _refuse(self) -> None:
        self.service.engine.draining = True
