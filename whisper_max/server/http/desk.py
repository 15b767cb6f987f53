"""``/v1/jobs``: recordings that are transcribed after their request has ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from whisper_max.server.desk.desk import Desk, segments_of, shown
from whisper_max.server.desk.store import DONE, FAILED, StoredJob
from whisper_max.server.errors import NOT_FOUND, APIError
from whisper_max.server.http.addresses import fetch_recording
from whisper_max.server.http.exchange import counted
from whisper_max.server.http.fields import form_schema
from whisper_max.server.http.uploads import read_form
from whisper_max.server.security import given_key
from whisper_max.server.spool import DiskSpace
from whisper_max.server.state import shared

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_POLL = "2"  # seconds after which it is worth to ask again
_RESPONSES: dict[int | str, dict[str, Any]] = {404: {"description": "No such job of this key's"}}


def _form() -> dict[str, Any]:
    form = form_schema()
    properties = form["content"]["multipart/form-data"]["schema"]["properties"]
    del properties["stream"]
    properties["webhook"] = {"type": "string", "description": "address that is told, signed, when the job has ended"}
    return form


@router.post("", status_code=202, summary="Leave a recording", openapi_extra={"requestBody": _form()})
async def add(request: Request) -> Response:
    """Take a recording with the form of ``/v1/audio/transcriptions``, and answer as soon as it is kept."""

    async def work(_count: object) -> Response:
        server, desk = shared(request), _desk(request)
        place = DiskSpace(server.spool)
        try:
            with server.admission.admit():
                async with read_form(request, server.settings, place) as form:
                    if urls := form.fields.pop("url", []):
                        await fetch_recording(form, urls, server.settings, place)
                    job = await desk.add(form, _owner(request))
                    server.metrics.upload_bytes.inc(form.n_bytes)
        finally:
            place.close()
        return JSONResponse(_shown(request, job), 202, {"Location": f"/v1/jobs/{job.id}"})

    return await counted(request, "jobs", work, APIError.response)


@router.get("", summary="List jobs")
async def list_jobs(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None
) -> dict[str, Any]:
    """The jobs of this key, the newest first; ``after`` is the last id of the page before."""
    found = await asyncio.to_thread(_desk(request).store.newest, _owner(request), limit + 1, after)
    data = [_shown(request, job) for job in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


@router.get("/{id}", summary="One job", responses=_RESPONSES)
async def get(request: Request, id: str) -> dict[str, Any]:
    """A job, and how far it is."""
    return _shown(request, await _found(request, id))


@router.get("/{id}/result", summary="Its result", responses={**_RESPONSES, 409: {"description": "It has not ended"}})
async def result(request: Request, id: str) -> Response:
    """The transcript as it was asked for, or the error that it ended with."""
    job = await _ended(request, id)
    answer = await asyncio.to_thread(_desk(request).store.answer, job.id)
    headers = {} if answer.warnings is None else {"x-whisper-max-warnings": answer.warnings}
    return Response(answer.body, headers={**headers, "Content-Type": answer.media_type})


@router.get("/{id}/segments", summary="Its segments", responses=_RESPONSES)
async def segments(request: Request, id: str, start: Annotated[int, Query(ge=0)] = 0) -> dict[str, Any]:
    """The segments so far, from a number on, each with its words; with language and duration once it is done."""
    job = await _found(request, id)
    desk = _desk(request)
    if job.status == FAILED:
        raise _error(job)
    if job.status == DONE:
        found: dict[str, Any] = json.loads((await asyncio.to_thread(desk.store.answer, id)).segments)
        return {**found, "data": found["data"][start:]}
    running = desk.running.get(id)
    return segments_of([] if running is None else running.segments[start:])


@router.delete("/{id}", summary="Forget a job", responses=_RESPONSES)
async def delete(request: Request, id: str) -> dict[str, Any]:
    """End a job and forget it, with its recording and result."""
    await _found(request, id)
    await _desk(request).delete(id)
    return {"id": id, "object": "transcription.job", "deleted": True}


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _owner(request: Request) -> str:
    """Whose jobs a request sees: those of its key."""
    keys = shared(request).settings.api_keys
    return hashlib.sha256(given_key(request.headers).encode()).hexdigest() if keys else ""


async def _found(request: Request, id: str) -> StoredJob:
    try:
        job = await asyncio.to_thread(_desk(request).store.get, id)
    except KeyError:
        job = None
    if job is None or job.owner != _owner(request):
        raise APIError(404, "no such job", type=NOT_FOUND, code="job_not_found", param="id")
    return job


async def _ended(request: Request, id: str) -> StoredJob:
    job = await _found(request, id)
    if job.status == FAILED:
        raise _error(job)
    if job.status != DONE:
        raise APIError(
            409, f"the job is {job.status}", code="job_not_ended", param="id", headers={"Retry-After": _POLL}
        )
    return job


def _error(job: StoredJob) -> APIError:
    error = job.error or {}
    kind, code, param = error.get("type", ""), error.get("code"), error.get("param")
    return APIError(error.get("status", 500), error.get("message", ""), type=kind, code=code, param=param)


def _shown(request: Request, job: StoredJob) -> dict[str, Any]:
    return shown(job, shared(request).settings, _desk(request).running.get(job.id))
