"""`clearhead serve`: runs behind HTTP, for programs that speak the OpenAI API."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clearhead.cli.arguments import RUNS, Words, parse
from clearhead.config import ServeConfig
from clearhead.errors import ConfigError
from clearhead.runtime import share_threads


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Serve runs to programs that speak the OpenAI API; prints `ready ADDRESS` once it answers.

    Only this machine is let in, unless --host and a key say otherwise. SIGTERM and Ctrl-C finish what is being
    answered. What is served are base models: they continue text.
    """

    runs: Words = ()
    """Folders or names of runs (default: the newest)."""
    key_file: Path | None = None
    """A file with keys, one a line; requests must carry one. Never given on the command line, where others see it."""
    chat_template: Path | None = None
    """A TOML file that says how the turns of a chat become a text (see docs/serving.md)."""
    out: Path = RUNS
    """The folder that holds runs."""
    serving: ServeConfig = field(default_factory=ServeConfig)
    """Where it listens and how much it takes on."""


def run(argv: Sequence[str]) -> int:
    """Serve until told to stop."""
    arguments = parse(Arguments, "serve", argv)
    config = arguments.serving
    share_threads(spared=1)  # sending needs one: of two cores, drawing on one served 64 streams faster than on both

    from clearhead.serving.security import policy_for

    policy = policy_for(config.host, config.allowed_hosts, _keys(arguments.key_file), config.max_body << 10)

    from clearhead.runs.directory import find_run
    from clearhead.serving.server import Server
    from clearhead.serving.service import Service
    from clearhead.serving.template import Template

    template = None if arguments.chat_template is None else Template.read(arguments.chat_template)
    runs = [find_run(name, arguments.out) for name in arguments.runs or (None,)]
    service = Service(runs, config, template)
    Server(service, policy, lambda address: print(f"ready {address}", flush=True)).serve_forever()
    return 0


def _keys(file: Path | None) -> tuple[str, ...]:
    """The keys of a file; ConfigError when it holds none."""
    if file is None:
        return ()
    try:
        keys = tuple(file.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"key_file={file} cannot be read as ASCII; name a file with one key a line") from None
    if not keys:
        raise ConfigError(f"key_file={file} holds no key; write one into it, a line of 16 characters or more")
    return keys
