"""Lessons over HTTP: listed, begun, read part by part, answered, stopped."""

import asyncio
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.lessons.catalogue import find, lessons
from clearhead.lessons.progress import read_progress
from clearhead.studio.courses import about
from clearhead.studio.replies import query, read, reply
from clearhead.studio.studio import studio_of


async def listing(http: Request) -> Response:
    """The course, with what was done."""
    done, _ = await asyncio.to_thread(read_progress)
    course = [
        {**about(lesson), "done": asdict(done[lesson.slug]) if lesson.slug in done else None}
        for lesson in lessons().values()
    ]
    return reply({"lessons": course})


async def one(http: Request) -> Response:
    """A lesson, and whether it is being told."""
    lesson, courses = find(http.path_params["lesson"]), studio_of(http).courses
    return reply({**about(lesson), "telling": courses.processes.alive(courses.told(lesson).log)})


async def start(http: Request) -> Response:
    """Begin it on a text."""
    asked = await read(http, {"text": str})
    lesson, studio = find(http.path_params["lesson"]), studio_of(http)
    word = studio.texts.find(asked["text"]).word
    await asyncio.to_thread(studio.courses.start, lesson, word)
    return reply(about(lesson))


async def parts(http: Request) -> Response:
    """What was said since a cursor."""
    asked = query(http, cursor=int)
    lesson = find(http.path_params["lesson"])
    return reply(await asyncio.to_thread(studio_of(http).courses.parts, lesson, max(0, asked.get("cursor", 0))))


async def answer(http: Request) -> Response:
    """A prediction; nothing goes on without one."""
    asked = await read(http, {}, {"answer": (str, int, float)})
    typed = "" if asked["answer"] is None else str(asked["answer"])
    await asyncio.to_thread(studio_of(http).courses.answer, find(http.path_params["lesson"]), typed)
    return reply({"answer": typed})


async def stop(http: Request) -> Response:
    """End it."""
    await read(http, {})
    lesson = find(http.path_params["lesson"])
    await asyncio.to_thread(studio_of(http).courses.stop, lesson)
    return reply(about(lesson))


ROUTES = [
    Route("/api/lessons", listing),
    Route("/api/lessons/{lesson}", one),
    Route("/api/lessons/{lesson}/start", start, methods=["POST"]),
    Route("/api/lessons/{lesson}/parts", parts),
    Route("/api/lessons/{lesson}/answer", answer, methods=["POST"]),
    Route("/api/lessons/{lesson}/stop", stop, methods=["POST"]),
]
