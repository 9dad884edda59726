"""What is answered: documents in the OpenAI API's shape, whole or as a stream of chunks."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from clearhead.serving.errors import ApiError
from clearhead.serving.pending import Pending
from clearhead.serving.writing import Part, Scored, Text

READING_LIMITS = 2
"""Time limits after which a stream that is still not read to its end is given up: it holds memory."""

log = logging.getLogger("clearhead.serving")

Choice = Callable[[int, Part], dict[str, Any]]
"""The number of a text and what is new of it, as the API tells of it."""


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(BaseModel):
    """One entry per token in each list."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One text."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: Logprobs | None


class Completion(BaseModel):
    """The answer of /v1/completions."""

    id: str
    object: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class Turn(BaseModel):
    """What the model says."""

    role: str
    content: str


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: Turn
    finish_reason: str | None
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The answer of /v1/chat/completions."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


def logprobs_document(scored: Sequence[Scored], *, from_start: bool) -> dict[str, list[Any]]:
    """Scored tokens as parallel lists; the first of a text has no log-probability."""
    first = bool(scored) and from_start and scored[0].offset == 0
    return {
        "tokens": [token.name for token in scored],
        "token_logprobs": [None if first and i == 0 else token.logprob for i, token in enumerate(scored)],
        "top_logprobs": [None if first and i == 0 else token.top for i, token in enumerate(scored)],
        "text_offset": [token.offset for token in scored],
    }


def usage_of(texts: Sequence[Text], n: int) -> dict[str, int]:
    """The counts of a request with n texts per prompt; a prompt counts once."""
    read = sum(len(text.ids) - text.hidden for text in texts[::n])
    written = sum(text.written for text in texts)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def head(kind: str, prefix: str, model: str) -> dict[str, Any]:
    """The fields that a document and all chunks of a stream have in common."""
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


class EventStream(StreamingResponse):
    """Server-sent events of one request, cancelled wherever it is when the client goes, or does not read for long.

    What is sent is ASCII: no character can be cut, and nobody takes one for the end of a line.
    """

    def __init__(self, pending: Pending, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self.pending = pending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        patience = READING_LIMITS * self.pending.engine.config.time_limit
        try:
            async with asyncio.timeout(patience):
                await super().__call__(scope, receive, send)
        except TimeoutError:  # the connection is closed: the answer is not whole
            log.warning("a reader has not taken its stream in %g s and is cut off", patience)
        finally:
            self.pending.close()


def event(document: Any) -> bytes:
    """One server-sent event."""
    return b"data: %s\n\n" % json.dumps(document, separators=(",", ":")).encode("ascii")


async def events(
    pending: Pending,
    first: list[tuple[int, Part]],
    common: dict[str, Any],
    choice: Choice,
    usage: Callable[[], dict[str, int]] | None,
) -> AsyncIterator[bytes]:
    """A request's stream from its first news on: a chunk for each text that has grown, then usage, then the end."""
    ended, news = 0, first
    common = common if usage is None else {**common, "usage": None}
    try:
        while True:
            if news:
                yield b"".join(event({**common, "choices": [choice(number, part)]}) for number, part in news)
            ended += sum(part.finish is not None for _, part in news)
            if ended == len(pending.request.texts):
                break
            news = await pending.news()
        if usage is not None:
            yield event({**common, "choices": [], "usage": usage()})
    except ApiError as refusal:
        yield event(refusal.document())
    yield b"data: [DONE]\n\n"
