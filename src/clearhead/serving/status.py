"""Three routes for those who run a server: is it alive, does it take requests, what has it done."""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from clearhead.serving.errors import ApiError, busy
from clearhead.serving.service import service_of

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter()


class Status(BaseModel):
    """One word."""

    status: str


@router.get("/health")
async def health(http: Request) -> Status:
    """Whether the server lives; one that does not must be started again."""
    if not service_of(http).engine.alive:
        raise ApiError(500, "the thread that writes has ended; start the server again", code="engine_dead")
    return Status(status="ok")


@router.get("/ready")
async def ready(http: Request) -> Status:
    """Whether it takes requests; one that shuts down does not."""
    if service_of(http).engine.draining:
        raise busy("the server is shutting down")
    return Status(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(http: Request) -> PlainTextResponse:
    """Counts and gauges for Prometheus."""
    return PlainTextResponse(service_of(http).metrics.text(), media_type=PROMETHEUS)
