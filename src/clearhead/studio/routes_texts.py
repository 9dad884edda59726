"""Texts over HTTP: listed, uploaded in pieces, named by path, looked at, deleted."""

import asyncio
import sys
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.errors import CorpusError
from clearhead.studio.processes import ERROR
from clearhead.studio.replies import JSON, read, reply
from clearhead.studio.runs import delete_text
from clearhead.studio.studio import studio_of


async def begin(http: Request) -> Response:
    """A text will come in pieces."""
    asked = await read(http, {"name": str, "size": int})
    return reply({"upload": await asyncio.to_thread(studio_of(http).texts.begin, asked["name"], asked["size"])})


async def append(http: Request) -> Response:
    """The next piece."""
    asked = await read(http, {"offset": int, "data": str})
    texts, name = studio_of(http).texts, http.path_params["text"]
    return reply({"received": await asyncio.to_thread(texts.append, name, asked["offset"], asked["data"])})


async def done(http: Request) -> Response:
    """All pieces are there: is it a text?"""
    asked = await read(http, {}, {"encoding": str})
    text = await asyncio.to_thread(studio_of(http).texts.finish, http.path_params["text"], asked["encoding"])
    return reply(text.to_dict())


async def by_path(http: Request) -> Response:
    """A text that lies on this machine."""
    asked = await read(http, {"path": str})
    return reply((await asyncio.to_thread(studio_of(http).texts.by_path, asked["path"])).to_dict())


async def delete(http: Request) -> Response:
    """Take a text from the list."""
    await read(http, {})
    studio, name = studio_of(http), http.path_params["text"]
    await asyncio.to_thread(delete_text, studio, name)
    return reply({"deleted": name})


async def look(http: Request) -> Response:
    """What `clearhead look --json` says of a text: asked of that command, for a large text takes its time."""
    word = studio_of(http).texts.find(http.path_params["text"]).word
    command = [sys.executable, "-m", "clearhead", "look", word, "--json"]
    pipe: Any = asyncio.subprocess.PIPE
    asked = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        told, said = await asked.communicate()
    finally:
        if asked.returncode is None:
            asked.kill()
    if asked.returncode:
        lines = [line for line in said.splitlines() if line.startswith(ERROR)] or [ERROR + b"the text cannot be read"]
        raise CorpusError(lines[-1].removeprefix(ERROR).decode("utf-8", "replace"))
    return Response(told, media_type=JSON)


ROUTES = [
    Route("/api/texts", begin, methods=["POST"]),
    Route("/api/texts/path", by_path, methods=["POST"]),
    Route("/api/texts/{text}", append, methods=["POST"]),
    Route("/api/texts/{text}/done", done, methods=["POST"]),
    Route("/api/texts/{text}/look", look),
    Route("/api/texts/{text}/delete", delete, methods=["POST"]),
]
