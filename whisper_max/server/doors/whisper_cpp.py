"""``POST /inference``, as whisper.cpp's server has it (examples/server): its fields, its JSON, its errors."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response

from whisper_max.server.errors import APIError
from whisper_max.server.http import formats
from whisper_max.server.http.asked import Asked, read_asked
from whisper_max.server.http.exchange import Door, respond
from whisper_max.server.http.uploads import Form
from whisper_max.server.settings import Settings
from whisper_max.transcribe.result import Segment, TranscriptionResult

router = APIRouter(tags=["other servers"], include_in_schema=False)


def _read(_request: Request, form: Form, settings: Settings) -> Asked:
    fields = {**form.fields, "model": [settings.default_id]}
    return read_asked(fields, "transcribe", settings.batch_size, strict=settings.strict_fields)


def _answer(asked: Asked, result: TranscriptionResult) -> Response:
    """Each segment is a line, with the space before it, in its ``text`` and in the text of its JSON."""
    if asked.format not in ("json", "text"):
        return formats.answer(asked, result)
    lines = "".join(f"{_who(segment)}{segment.text}\n" for segment in result.segments)
    return formats.with_warnings(
        JSONResponse({"text": lines}) if asked.format == "json" else PlainTextResponse(lines), asked, result
    )


def _who(segment: Segment) -> str:
    """As its command line names one of two channels."""
    return "" if segment.speaker is None else f"({segment.speaker})"


def _refuse(error: APIError) -> Response:
    return JSONResponse({"error": error.message}, error.status, error.headers)


_DOOR = Door("inference", _read, _answer, _refuse)
REFUSE = {"/inference": _refuse}
"""How each address tells an error."""


@router.post("/inference")
async def inference(request: Request) -> Response:
    """Transcribe a recording with the default model."""
    return await respond(request, _DOOR)
