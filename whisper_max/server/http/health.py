"""Is it alive, does it take work, and what has it done: ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from whisper_max.server.state import shared

router = APIRouter(tags=["server"])


@router.get("/health", summary="Alive")
async def health() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@router.get("/ready", summary="Taking requests", responses={503: {"description": "Loading, or stopping"}})
async def ready(request: Request) -> JSONResponse:
    """200 where the default model is loaded and the server is not stopping."""
    server = shared(request)
    if server.admission.stopping.is_set():
        return JSONResponse({"status": "stopping"}, 503)
    if not server.engines.is_loaded(server.engines.default_id):
        return JSONResponse({"status": "loading"}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", summary="Counters", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """Prometheus' text format."""
    server = shared(request)
    server.metrics.observe(server.admission.n_requests, server.engines.loads())
    return PlainTextResponse(server.metrics.render(), media_type=CONTENT_TYPE_LATEST)
