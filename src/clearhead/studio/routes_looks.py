"""Looks into a run over HTTP: the views of `inspect`, the ladder, a text's scores, the next token's logits."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearhead.studio.looks import figure_json, look, read_settings
from clearhead.studio.models import fingerprint
from clearhead.studio.replies import JSON, read, reply, to_json
from clearhead.studio.scoring import logits, score
from clearhead.studio.studio import studio_of


async def view(http: Request) -> Response:
    """One view, made once for the same weights and settings."""
    studio, name = studio_of(http), http.path_params["view"]
    step, settings = read_settings(name, http.query_params)
    run = studio.board.run(http.path_params["run"])

    def make() -> bytes:
        others = studio.board.run
        return look(studio.models.load(run, step), name, settings, lambda other: studio.models.load(others(other)))

    key = ("look", run.path, fingerprint(run), name, step, repr(sorted(settings.items())))
    return Response(await studio.remembered(key, make), media_type=JSON)


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
    loaded = await studio.answer(studio.models.load, run, asked["step"])
    counted = await studio.work(studio.scoring.bigram, loaded)
    return reply(await studio.answer(score, loaded, asked["text"], counted))


async def next_logits(http: Request) -> Response:
    """What the next token is drawn from."""
    asked = await read(http, {}, {"text": str, "step": int})
    studio = studio_of(http)
    run = studio.board.run(http.path_params["run"])
    loaded = await studio.answer(studio.models.load, run, asked["step"])
    return reply(await studio.answer(logits, loaded, asked["text"] or ""))


ROUTES = [
    Route("/api/runs/{run}/ladder", ladder),
    Route("/api/runs/{run}/look/{view}", view),
    Route("/api/runs/{run}/score", scores, methods=["POST"]),
    Route("/api/runs/{run}/logits", next_logits, methods=["POST"]),
]
