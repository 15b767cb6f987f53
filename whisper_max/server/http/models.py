"""The models of this server: which there are, which are loaded, and loading and unloading them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from whisper_max.server.state import Shared, shared

router = APIRouter(prefix="/v1/models", tags=["models"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such model"},
    409: {"description": "In use"},
    429: {"description": "No memory while others are in use"},
    503: {"description": "It can't be loaded, or takes more than the memory budget"},
}


@router.get("", summary="List models")
async def list_models(request: Request) -> dict[str, Any]:
    """All models that requests may name, in OpenAI's shape; ``loaded`` and ``default`` are ours."""
    server = shared(request)
    return {"object": "list", "data": [_model(server, id) for id in server.engines.ids]}


@router.get("/{id:path}", summary="One model", responses=_RESPONSES)
async def get_model(request: Request, id: str) -> dict[str, Any]:
    """One model."""
    server = shared(request)
    return _model(server, server.engines.known(id))


@router.post("/{id:path}", summary="Load a model", responses=_RESPONSES)
async def load(request: Request, id: str) -> dict[str, Any]:
    """Load a model; others that nobody uses make room for it, the least recently used first."""
    server = shared(request)
    async with server.engines.use(id) as engine:
        return _model(server, engine.id)


@router.delete("/{id:path}", summary="Unload a model", responses=_RESPONSES)
async def unload(request: Request, id: str) -> dict[str, Any]:
    """Take a model out of memory; the next request that names it loads it again."""
    server = shared(request)
    id = server.engines.known(id)
    return {"id": id, "object": "model", "deleted": await server.engines.unload(id)}


def _model(server: Shared, id: str) -> dict[str, Any]:
    return {
        "id": id,
        "object": "model",
        "created": server.started,
        "owned_by": "whisper_max",
        "loaded": server.engines.is_loaded(id),
        "default": id == server.engines.default_id,
    }
