"""Two routes of our own: how a text is cut into tokens, and how surprising each of them is."""

import math

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from clearhead.config import SamplingConfig
from clearhead.serving.pending import ClientGoneError, unless_gone
from clearhead.serving.prompts import read_prompt
from clearhead.serving.schema import ScoreRequest, TokenizeRequest
from clearhead.serving.service import service_of
from clearhead.serving.shelf import Loaded
from clearhead.serving.writing import Text

router = APIRouter(prefix="/v1")


class Tokens(BaseModel):
    """A text in tokens."""

    model: str
    ids: list[int]
    tokens: list[str]
    count: int


class Scores(Tokens):
    """A text in tokens, with what the model makes of each after those before it."""

    logprobs: list[float | None]
    """Natural; null for a first token before which nothing stands."""
    top_logprobs: list[dict[str, float] | None]
    nats_per_token: float | None
    bits_per_char: float | None


@router.post("/tokenize")
async def tokenize(asked: TokenizeRequest, http: Request) -> Tokens:
    """The ids of a text and the text of each."""
    service = service_of(http)
    loaded = await service.shelf.take(asked.model)
    try:
        ids, hidden = read_prompt(asked.text, loaded, service.config, "text")
        names = loaded.vocabulary.names
        own = ids[hidden:]
        return Tokens(model=asked.model, ids=own, tokens=[names[token] for token in own], count=len(own))
    finally:
        service.shelf.release(loaded)


@router.post("/score", response_model=Scores)
async def score(asked: ScoreRequest, http: Request) -> Response:
    """The log-probability of every token of a text, as the model saw it when it would have written there."""
    service = service_of(http)

    def texts(loaded: Loaded) -> list[Text]:
        param = "ids" if asked.text is None else "text"
        ids, hidden = read_prompt(asked.ids if asked.text is None else asked.text, loaded, service.config, param)  # type: ignore[arg-type]
        return [
            Text(loaded.vocabulary, ids, SamplingConfig(max_new_tokens=0, logprobs=asked.top), 0, hidden, echo=True)
        ]

    pending = await service.ask(asked.model, texts)
    try:
        (part,) = await unless_gone(pending.whole(), http.receive)
    except ClientGoneError:
        return Response(status_code=499)
    finally:
        pending.close()
    told = [token.logprob for token in part.scored if token.logprob is not None]
    nats = -sum(told)
    first = part.scored[0].logprob is None if part.scored else False
    characters = len(part.text) - (len(part.scored[0].name) if first else 0)
    scores = Scores(
        model=asked.model,
        ids=[token.id for token in part.scored],
        tokens=[token.name for token in part.scored],
        count=len(part.scored),
        logprobs=[token.logprob for token in part.scored],
        top_logprobs=[token.top for token in part.scored],
        nats_per_token=nats / len(told) if told else None,
        bits_per_char=nats / math.log(2) / characters if told and characters > 0 else None,
    )
    return JSONResponse(scores.model_dump())
