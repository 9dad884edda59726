"""Looks into a run over HTTP: the views of `inspect`, the ladder, a text's scores, the next token's logits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.studio.looks import LOOKS, figure_json, look, read_settings
from clearhead.studio.models import fingerprint
from clearhead.studio.replies import JSON, PACKED, query, read, reply, to_json
from clearhead.studio.scoring import logits, score
from clearhead.studio.studio import studio_of

if TYPE_CHECKING:
    from clearhead.api import Run


async def view(http: Request) -> Response:
    """One view, made once for the same weights and settings."""
    studio, name = studio_of(http), http.path_params["view"]
    step, settings = read_settings(name, http.query_params)
    run = studio.board.run(http.path_params["run"])

    def make() -> bytes:
        others = studio.board.run
        return look(studio.models.load(run, step), name, settings, lambda other: studio.models.load(others(other)))

    key = ("look", run.path, fingerprint(run), name, step, repr(sorted(settings.items())))
    return Response(await studio.remembered(key, make, quick=LOOKS[name].quick), media_type=JSON)


async def attention(http: Request) -> Response:
    """The patterns of all heads on a text, or one head's chain; packed, for they are millions of numbers."""
    asked = query(http, step=int, text=str, layer=int, head=int, position=int)

    def make(run: "Run") -> bytes:
        from clearhead.studio.views_packed import attention_packed

        return attention_packed(run, **{name: value for name, value in asked.items() if name != "step"})

    return await _packed(http, "attention", asked, make)


async def vectors(http: Request) -> Response:
    """The vectors of every token, as a checkpoint holds them."""

    def make(run: "Run") -> bytes:
        from clearhead.studio.views_packed import vectors_packed

        return vectors_packed(run)

    return await _packed(http, "vectors", query(http, step=int), make)


async def _packed(http: Request, what: str, asked: dict[str, Any], make: "Callable[[Run], bytes]") -> Response:
    """Made once for the same weights and settings."""
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])
    key = (what, run.path, fingerprint(run), repr(sorted(asked.items())))
    found = await studio.remembered(key, lambda: make(studio.models.load(run, asked.get("step"))), quick=True)
    return Response(found, media_type=PACKED)


async def ladder(http: Request) -> Response:
    """The ladder of a run."""
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])

    def make() -> bytes:
        from clearhead.figures.ladder import ladder_figure

        found = studio.models.load(run).ladder()
        return b'%s,"figure":%s}' % (to_json({"ladder": found.to_dict()})[:-1], figure_json(ladder_figure(found)))

    return Response(await studio.remembered(("ladder", run.path, fingerprint(run)), make), media_type=JSON)


async def scores(http: Request) -> Response:
    """What every token of a text costs."""
    asked = await read(http, {"text": str}, {"step": int})
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])
    loaded = await studio.quick.do(studio.models.load, run, asked["step"])
    counted = await studio.dear.do(studio.scoring.bigram, loaded)
    return reply(await studio.quick.do(score, loaded, asked["text"], counted))


async def next_logits(http: Request) -> Response:
    """What the next token is drawn from."""
    asked = await read(http, {}, {"text": str, "step": int, "seed": int})
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])
    loaded = await studio.quick.do(studio.models.load, run, asked["step"])
    return reply(await studio.quick.do(logits, loaded, asked["text"] or "", asked["seed"]))


async def what_was_gained(http: Request) -> Response:
    """What each rung pays for each token where the validation text begins."""
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])
    key = ("gains", run.path, fingerprint(run))
    return Response(
        await studio.remembered(key, lambda: to_json(studio.models.load(run).gains().to_dict())),
        media_type=JSON,
    )


ROUTES = [
    Route("/api/runs/{run}/attention", attention),
    Route("/api/runs/{run}/vectors", vectors),
    Route("/api/runs/{run}/ladder", ladder),
    Route("/api/runs/{run}/gains", what_was_gained),
    Route("/api/runs/{run}/look/{view}", view),
    Route("/api/runs/{run}/score", scores, methods=["POST"]),
    Route("/api/runs/{run}/logits", next_logits, methods=["POST"]),
]
