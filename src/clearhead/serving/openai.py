"""The routes that programs written for the OpenAI API call: models, completions, chat completions."""

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from clearhead.serving.answers import (
    ChatCompletion,
    Choice,
    Completion,
    EventStream,
    events,
    head,
    logprobs_document,
    usage_of,
)
from clearhead.serving.errors import ApiError
from clearhead.serving.pending import ClientGoneError, Pending, unless_gone
from clearhead.serving.prompts import list_prompts, read_prompt, sampling_for
from clearhead.serving.schema import ChatRequest, CompletionRequest, Drawing
from clearhead.serving.service import Service, service_of
from clearhead.serving.shelf import Loaded, Place
from clearhead.serving.writing import Part, Text

MAX_TOKENS = 16
"""Of a completion that names no number, as the OpenAI API has it."""
CHAT_TOKENS = 256
"""Of a chat completion that names none."""
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAM: dict[int | str, Any] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}

router = APIRouter(prefix="/v1")


class Model(BaseModel):
    """A run that is served."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All of them."""

    object: str
    data: list[Model]


@router.get("/models")
async def list_models(http: Request) -> ModelList:
    """The runs that are served, in memory or not."""
    places = service_of(http).shelf.places
    return ModelList(object="list", data=[_model(places[name]) for name in sorted(places)])


@router.get("/models/{model}")
async def retrieve_model(model: str, http: Request) -> Model:
    """One of them."""
    return _model(service_of(http).shelf.find(model))


def _model(place: Place) -> Model:
    return Model(id=place.directory.name, object="model", created=place.created, owned_by="clearhead")


@router.post("/completions", response_model=Completion, responses=STREAM)
async def create_completion(asked: CompletionRequest, http: Request) -> Response:
    """Go on from a text. Choice j of prompt i is number i * n + j, and the same alone or among others."""
    service = service_of(http)
    tokens = _bounded(MAX_TOKENS if asked.max_tokens is None else asked.max_tokens, "max_tokens", service)
    n, seed = asked.n or 1, _seed(asked)

    def texts(loaded: Loaded) -> list[Text]:
        sampling = sampling_for(asked, tokens, asked.logprobs, seed, loaded)
        prompts = [read_prompt(prompt, loaded, service.config) for prompt in list_prompts(asked.prompt)]
        return [
            Text(loaded.vocabulary, prompt.ids, sampling, number, prompt.hidden, bool(asked.echo))
            for prompt in prompts
            for number in range(n)
        ]

    def choice(index: int, part: Part) -> dict[str, Any]:
        scores = logprobs_document(part.scored, from_start=bool(asked.echo)) if asked.logprobs is not None else None
        return {"index": index, "text": part.text, "finish_reason": part.finish, "logprobs": scores}

    pending = await service.ask(asked.model, texts, streaming=bool(asked.stream))
    return await _answer(pending, http, asked, head("text_completion", "cmpl", asked.model), choice)


@router.post("/chat/completions", response_model=ChatCompletion, responses=STREAM)
async def create_chat_completion(asked: ChatRequest, http: Request) -> Response:
    """Answer a conversation, where the server was started with a template that makes a text of it."""
    service = service_of(http)
    template = service.template
    service.shelf.find(asked.model)
    if template is None:
        raise ApiError(
            400,
            f"{asked.model} is a base model: it continues text and knows no turns; use /v1/completions, "
            "or start the server with --chat_template",
            code="no_chat_template",
        )
    wanted = asked.max_completion_tokens or asked.max_tokens or min(CHAT_TOKENS, service.config.max_new_tokens)
    tokens, seed = _bounded(wanted, "max_completion_tokens", service), _seed(asked)
    prompt = template.prompt([(message.role, message.text) for message in asked.messages])
    asked = asked.model_copy(update={"stop": [*asked.stops, *template.stop]})

    def texts(loaded: Loaded) -> list[Text]:
        sampling = sampling_for(asked, tokens, None, seed, loaded)
        ids, hidden = read_prompt(prompt, loaded, service.config, "messages")
        return [Text(loaded.vocabulary, ids, sampling, number, hidden) for number in range(asked.n or 1)]

    begun: set[int] = set()

    def choice(index: int, part: Part) -> dict[str, Any]:
        turn = {"content": part.text} if index in begun else {"role": "assistant", "content": part.text}
        begun.add(index)
        name = "delta" if asked.stream else "message"
        return {"index": index, name: turn, "finish_reason": part.finish, "logprobs": None}

    pending = await service.ask(asked.model, texts, streaming=bool(asked.stream))
    kind = "chat.completion.chunk" if asked.stream else "chat.completion"
    return await _answer(pending, http, asked, head(kind, "chatcmpl", asked.model), choice)


async def _answer(pending: Pending, http: Request, asked: Drawing, common: dict[str, Any], choice: Choice) -> Response:
    """The texts of a request as one document, or as a stream that begins when the first token is there."""

    def usage() -> dict[str, int]:
        return usage_of(pending.request.texts, asked.n or 1)

    try:
        if asked.stream:
            first = await unless_gone(pending.news(), http.receive)
            counted = asked.stream_options is not None and asked.stream_options.include_usage
            return EventStream(pending, events(pending, first, common, choice, usage if counted else None))
        parts = await unless_gone(pending.whole(), http.receive)
        choices = [choice(number, part) for number, part in enumerate(parts)]
        pending.close()
        return JSONResponse({**common, "choices": choices, "usage": usage()})
    except ClientGoneError:
        pending.close()
        return Response(status_code=499)
    except BaseException:
        pending.close()
        raise


def _bounded(tokens: int, param: str, service: Service) -> int:
    most = service.config.max_new_tokens
    if tokens > most:
        raise ApiError(400, f"{param}={tokens} is more than the {most:,} that this server writes", param=param)
    return tokens


def _seed(asked: Drawing) -> int:
    """The seed in the range that drawing takes; without one the texts are new every time."""
    return secrets.randbits(63) if asked.seed is None else asked.seed % 2**63
