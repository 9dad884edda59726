"""What a tab hears: rows of runs when they change, a run's curves as they grow, at most ten messages a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from clearhead.runs.directory import RunDirectory
from clearhead.studio.curves import Curves
from clearhead.studio.replies import to_json
from clearhead.studio.studio import Studio
from clearhead.studio.tail import Tail

PAUSE = 0.1
"""Seconds between two messages."""
ROWS = 1.0
"""Seconds between two looks at all runs."""
ALIVE = 15.0
"""Seconds of silence after which a comment is sent: whoever is gone is found out."""


def stream(studio: Studio, run: RunDirectory | None, cursor: int) -> StreamingResponse:
    """The events of one tab; of one run from a cursor on."""
    events = _events(studio, None if run is None else Tail(run.events_file, cursor))
    return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _events(studio: Studio, tail: Tail | None) -> AsyncIterator[bytes]:
    rows: list[dict[str, Any]] | None = None
    looked = said = 0.0
    yield b": the studio\n\n"
    while not studio.closing:
        now, message = time.monotonic(), b""
        if now - looked >= ROWS:
            looked, found = now, await asyncio.to_thread(studio.board.rows)
            if found != rows:
                rows, message = found, event("runs", {"runs": found})
        if not message and tail is not None:
            message = _news(tail)
        if not message and now - said >= ALIVE:
            message = b": still here\n\n"
        if message:
            said = now
            yield message
        await asyncio.sleep(PAUSE)


def _news(tail: Tail) -> bytes:
    """What was told of a run since the last look; nothing where there was none."""
    lines, anew = tail.read()
    if not lines and not anew:
        return b""
    curves = Curves()
    curves.take(lines)
    if curves.empty and not anew:
        return b""
    return event("curves", {**curves.document(), "cursor": tail.cursor, "anew": anew})


def event(name: str, document: Any) -> bytes:
    """One server-sent event, in ASCII."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(document))
