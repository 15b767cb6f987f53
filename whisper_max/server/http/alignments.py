"""``POST /v1/audio/alignments``: times for the words of a text that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from whisper_max.api import check_timed
from whisper_max.server.errors import APIError
from whisper_max.server.http.asked import Asked, read_asked
from whisper_max.server.http.exchange import Door, missing, respond
from whisper_max.server.http.fields import form_schema
from whisper_max.server.http.transcriptions import TRANSCRIPT
from whisper_max.server.http.uploads import Form
from whisper_max.server.settings import Settings
from whisper_max.transcribe.known_text import read_known_text

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_TEXT = "text"
_NOT_TAKEN = ("channels", "speakers", "known_speaker_names[]", "known_speaker_references[]")
"""Fields of a transcription that mean nothing here: a known text is timed as it is said."""


def _form() -> dict[str, Any]:
    form = form_schema()
    schema = form["content"]["multipart/form-data"]["schema"]
    text = {"type": "string", "description": "what is said: srt, vtt, lrc, or plain text, a segment for each sentence"}
    fields = {name: field for name, field in schema["properties"].items() if name not in _NOT_TAKEN}
    schema |= {"properties": {_TEXT: text, **fields}, "required": [*schema["required"], _TEXT]}
    return form


def _read(_request: Request, form: Form, settings: Settings) -> Asked:
    texts = form.fields.pop(_TEXT, [])
    if not texts:
        raise missing(_TEXT)
    if len(texts) > 1:
        raise APIError(400, f"{_TEXT}: sent more than once", code="duplicate_field", param=_TEXT)
    asked = read_asked(form.fields, "transcribe", settings.batch_size, strict=settings.strict_fields, known=True)
    check_timed(asked.options)
    options = replace(asked.options, word_timestamps=True)
    return replace(asked, options=options, known=read_known_text(texts[0]))


_ALIGNMENTS = Door("alignments", _read)


@router.post(
    "/alignments",
    summary="Times for a known text",
    response_class=Response,
    openapi_extra={"requestBody": _form()},
    responses=TRANSCRIPT,
)
async def align(request: Request) -> Response:
    """Time every word of a text by the recording that says it; the form and the answer are those of a transcription."""
    return await respond(request, _ALIGNMENTS)
