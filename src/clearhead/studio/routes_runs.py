"""Runs over HTTP: listed, begun, paused, gone on with, compared, looked into."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.errors import ConfigError
from clearhead.runs.directory import RunDirectory
from clearhead.studio import runs
from clearhead.studio.curves import POINTS, Curves
from clearhead.studio.replies import query, read, reply
from clearhead.studio.stream import stream
from clearhead.studio.studio import Studio, studio_of
from clearhead.studio.tail import Tail

MOST_COMPARED = 8


async def listing(http: Request) -> Response:
    """All runs."""
    return reply({"runs": await asyncio.to_thread(studio_of(http).board.rows, now=True)})


async def begin(http: Request) -> Response:
    """Begin to train."""
    may: dict[str, Any] = {"name": str, "time": float, "model": str, "preset": str, "settings": dict}
    asked = await read(http, {"text": str}, may)
    studio = studio_of(http)
    name = await asyncio.to_thread(runs.begin, studio, asked)
    return reply(studio.board.row(name))


async def pause(http: Request) -> Response:
    """Save and end."""
    await read(http, {})
    return await _done(http, runs.pause)


async def stop(http: Request) -> Response:
    """Save and end for good."""
    await read(http, {})
    return await _done(http, runs.stop)


async def resume(http: Request) -> Response:
    """Go on."""
    asked = await read(http, {}, {"max_iters": int})
    return await _done(http, runs.resume, asked["max_iters"])


async def _done(http: Request, what: Any, *arguments: Any) -> Response:
    studio, name = studio_of(http), http.path_params["run"]
    await asyncio.to_thread(what, studio, name, *arguments)
    return reply(await asyncio.to_thread(studio.board.row_or_nothing, name))


async def rename(http: Request) -> Response:
    """Another name."""
    asked = await read(http, {"name": str})
    studio = studio_of(http)
    await asyncio.to_thread(runs.rename, studio, http.path_params["run"], asked["name"])
    return reply(studio.board.row(asked["name"]))


async def delete(http: Request) -> Response:
    """Gone for good."""
    asked = await read(http, {"confirm": str})
    studio, name = studio_of(http), http.path_params["run"]
    await asyncio.to_thread(runs.delete, studio, name, asked["confirm"])
    return reply({"deleted": name})


async def curves(http: Request) -> Response:
    """What a run's events tell."""
    asked = query(http, points=int)
    run = studio_of(http).board.place(http.path_params["run"])
    return reply(await asyncio.to_thread(_curves, run, _points(asked.get("points", POINTS))))


async def compare(http: Request) -> Response:
    """The curves of several runs."""
    asked = query(http, runs=str, points=int)
    names = [name for name in asked.get("runs", "").split(",") if name]
    if not 1 <= len(names) <= MOST_COMPARED:
        raise ConfigError(f"{len(names)} runs are named; give 1 to {MOST_COMPARED}, with commas between them")
    board = studio_of(http).board
    points = _points(asked.get("points", POINTS // len(names)))
    found = {name: await asyncio.to_thread(_curves, board.run(name), points) for name in names}
    return reply({"runs": found})


def _points(asked: int) -> int:
    if not 2 <= asked <= POINTS:
        raise ConfigError(f"points={asked} is outside 2 .. {POINTS:,}")
    return asked


def _curves(run: RunDirectory, points: int) -> dict[str, Any]:
    found, tail = Curves(), Tail(run.events_file)
    while lines := tail.read()[0]:
        found.take(lines)
    return {**found.document(points), "cursor": tail.cursor}


async def listen(http: Request) -> Response:
    """All that is new, as it happens."""
    asked = query(http, run=str, cursor=int)
    studio: Studio = studio_of(http)
    run = studio.board.place(asked["run"]) if asked.get("run") else None
    return stream(studio, run, max(0, asked.get("cursor", 0)))


ROUTES = [
    Route("/api/runs", listing),
    Route("/api/runs", begin, methods=["POST"]),
    Route("/api/runs/{run}/pause", pause, methods=["POST"]),
    Route("/api/runs/{run}/resume", resume, methods=["POST"]),
    Route("/api/runs/{run}/stop", stop, methods=["POST"]),
    Route("/api/runs/{run}/rename", rename, methods=["POST"]),
    Route("/api/runs/{run}/delete", delete, methods=["POST"]),
    Route("/api/runs/{run}/curves", curves),
    Route("/api/compare", compare),
    Route("/api/stream", listen),
]
