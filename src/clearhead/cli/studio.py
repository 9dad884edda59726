"""`clearhead studio`: the page on which a model is trained, watched, played with and understood."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clearhead.cli.arguments import RUNS, parse
from clearhead.config import STUDIO_PORT


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Open the studio: a page in your browser, answered by this machine alone; prints its link once it answers.

    The link holds a key that is new every time: whoever has it can train here and read the runs. Ctrl-C ends the
    studio; what trains goes on, and is there again when the studio is opened again.
    """

    out: Path = RUNS
    """The folder that holds runs."""
    port: int = STUDIO_PORT
    """The port to listen on; 0 takes a free one."""
    browser: bool = True
    """Open the page; --no-browser only prints the link."""


def run(argv: Sequence[str]) -> int:
    """Answer until told to stop."""
    arguments = parse(Arguments, "studio", argv)

    from clearhead.studio.server import StudioServer

    def ready(link: str) -> None:
        print(f"ready {link}", flush=True)
        if arguments.browser:
            _open(link)

    server = StudioServer(arguments.out, arguments.port, ready)
    with suppress(KeyboardInterrupt):  # the way to end it
        server.serve_forever()
    if training := server.studio.board.training():
        print(f"still training, and there when the studio is opened again: {', '.join(training)}", file=sys.stderr)
    if server.studio.busy:  # a look inside may take long, and nobody is there any more to see it
        sys.stdout.flush()
        os._exit(0)
    return 0


def _open(link: str) -> None:
    """Open a link in a browser, in a thread: some browsers are waited for until they are closed."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
