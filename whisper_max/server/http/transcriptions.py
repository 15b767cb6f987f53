"""``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from whisper_max.server.http.asked import Asked, read_asked
from whisper_max.server.http.exchange import Door, respond
from whisper_max.server.http.fields import form_schema
from whisper_max.server.http.uploads import Form
from whisper_max.server.settings import Settings

router = APIRouter(prefix="/v1/audio", tags=["audio"])

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text}
    for status, text in (
        (400, "The form, an option or the audio is wrong"),
        (404, "No such model"),
        (408, "The upload is too slow"),
        (413, "Too large"),
        (415, "Not a form"),
        (429, "Too many requests; see Retry-After"),
        (500, "A fault"),
        (503, "Stopping, or the model can't be loaded"),
        (504, "Not done in time"),
        (507, "The disk is full"),
    )
}
TRANSCRIPT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/plain": {}, "text/event-stream": {}}},
    **REFUSALS,
}
_DESCRIPTION: dict[str, Any] = {"openapi_extra": {"requestBody": form_schema()}, "responses": TRANSCRIPT}


def _reader(task: str) -> Any:  # noqa: ANN401 - as Door has it
    def read(_request: Request, form: Form, settings: Settings) -> Asked:
        return read_asked(form.fields, task, settings.batch_size, strict=settings.strict_fields)

    return read


_TRANSCRIPTIONS = Door("transcriptions", _reader("transcribe"))
_TRANSLATIONS = Door("translations", _reader("translate"))


@router.post("/transcriptions", summary="Speech to text", response_class=Response, **_DESCRIPTION)
async def transcribe(request: Request) -> Response:
    """Transcribe a recording in the language that is spoken."""
    return await respond(request, _TRANSCRIPTIONS)


@router.post("/translations", summary="Speech to English text", response_class=Response, **_DESCRIPTION)
async def translate(request: Request) -> Response:
    """Translate a recording to English."""
    return await respond(request, _TRANSLATIONS)
