"""``POST /asr`` and ``/detect-language``, as whisper-asr-webservice has them, which Bazarr and others ask.

What is asked stands in the address, the recording in the field ``audio_file``: a file of any kind, or with
``encode=false`` bare samples of 16 bits at 16 kHz.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from io import FileIO
from itertools import takewhile
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from numpy.typing import NDArray
from starlette.responses import Response

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.audio.reading import Reading
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.decode.language import DetectedLanguage
from whisper_max.output import render
from whisper_max.server.errors import APIError
from whisper_max.server.http.asked import Asked, read_asked
from whisper_max.server.http.exchange import Door, counted, missing, respond
from whisper_max.server.http.formats import said, with_warnings
from whisper_max.server.http.synonyms import truth
from whisper_max.server.http.uploads import Form, read_form
from whisper_max.server.recordings import Audio
from whisper_max.server.settings import Settings
from whisper_max.server.spool import DiskSpace
from whisper_max.server.state import Shared, shared
from whisper_max.text.languages import language_name
from whisper_max.transcribe.result import TranscriptionResult

router = APIRouter(tags=["other servers"], include_in_schema=False)

_FILE = "audio_file"
_OUTPUTS = {"txt": "text", "json": "json", "srt": "srt", "vtt": "vtt", "tsv": "tsv"}
"""Its names of formats, and ours."""
_ENGINE = {"Asr-Engine": "whisper_max"}


def _read(request: Request, form: Form, settings: Settings) -> Asked:
    asked = request.query_params
    output = asked.get("output") or "txt"
    if output not in _OUTPUTS:
        raise APIError(400, f"output: expected one of {', '.join(_OUTPUTS)}", code="invalid_value", param="output")
    sent = {name: asked.getlist(name) for name in asked if name not in ("output", "encode")}
    fields = {**form.fields, **sent, "response_format": [_OUTPUTS[output]], "model": [settings.default_id]}
    return read_asked(fields, "transcribe", settings.batch_size, strict=settings.strict_fields)


def _answer(asked: Asked, result: TranscriptionResult) -> Response:
    if asked.format == "json":
        return with_warnings(JSONResponse(result.to_dict(), headers=_ENGINE), asked, result)
    text = said(result).removesuffix("\n") if asked.format == "text" else render(result, asked.format, asked.layout)
    return with_warnings(PlainTextResponse(text, headers=_ENGINE), asked, result)


def _refuse(error: APIError) -> Response:
    message = error.message
    if error.param == "file":
        message = message.replace("file:", f"{_FILE}:", 1)
    return JSONResponse({"detail": message}, error.status, error.headers)


def _audio(request: Request, file: FileIO) -> Audio:
    """The file, or the samples that it is."""
    encoded = truth(request.query_params.get("encode") or "true")
    if encoded is None:
        raise APIError(400, "encode: expected true or false", code="invalid_value", param="encode")
    return file if encoded else _samples(file)


def _samples(file: FileIO) -> NDArray[Any]:
    n_bytes = file.seek(0, 2)
    if n_bytes == 0 or n_bytes % 2:
        raise APIError(400, f"{_FILE}: expected samples of 16 bits, found {n_bytes} bytes", code="invalid_audio")
    return np.memmap(file, "<i2", "r")


_DOOR = Door("asr", _read, _answer, _refuse, _FILE, _audio)
REFUSE = {"/asr": _refuse, "/detect-language": _refuse}
"""How each address tells an error."""


@router.post("/asr")
async def asr(request: Request) -> Response:
    """Transcribe or translate a recording with the default model."""
    return await respond(request, _DOOR)


@router.post("/detect-language")
async def detect_language(request: Request) -> Response:
    """Tell the language of the first 30 s of a recording, or of 30 s from ``detect_lang_offset`` on."""
    server = shared(request)
    return await counted(request, "detect-language", lambda _count: _detect(request, server), _refuse)


async def _detect(request: Request, server: Shared) -> Response:
    start = _seconds(request, "detect_lang_offset", 0, server.settings.max_seconds)
    length = _seconds(request, "detect_lang_length", CHUNK_LENGTH, CHUNK_LENGTH)
    async with AsyncExitStack() as stack:
        stack.enter_context(server.admission.admit())
        place = DiskSpace(server.spool)
        stack.callback(place.close)
        form = await stack.enter_async_context(read_form(request, server.settings, place, _FILE))
        if form.file is None:
            raise missing(_FILE)
        engine = await stack.enter_async_context(server.engines.use())
        audio = _audio(request, form.file)
        samples = await asyncio.to_thread(_part, server, audio, round(start * SAMPLE_RATE), round(length * SAMPLE_RATE))
        found: DetectedLanguage = await asyncio.wrap_future(
            engine.run_on_engine(lambda model: model.detect_language(samples))
        )
    name = language_name(found.code)
    body = {"detected_language": name, "language_code": found.code, "confidence": found.probability}
    return JSONResponse(body, headers=_ENGINE)


def _part(server: Shared, audio: Audio, start: int, length: int) -> NDArray[Any]:
    """Samples of a recording, which is decoded as far as they reach."""
    if isinstance(audio, np.ndarray):
        return np.array(audio[start : start + length])
    n_samples = 0

    def goes_on(piece: NDArray[np.float32]) -> bool:
        nonlocal n_samples
        n_samples += len(piece)
        return n_samples - len(piece) < start + length

    found: list[AudioWarning] = []  # of what is damaged, which the language is told of all the same
    reading = Reading(_FILE)
    with closing(
        server.workers.decoders.decode(audio, reading, found.append, check=lambda: None, later=False)
    ) as pieces:
        wanted = list(takewhile(goes_on, pieces))
    samples = np.concatenate(wanted) if wanted else np.zeros(0, np.float32)
    return samples[start : start + length]


def _seconds(request: Request, name: str, default: float, most: float) -> float:
    text = request.query_params.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= most:
        raise APIError(400, f"{name}: expected 0 to {most:g} seconds", code="invalid_value", param=name)
    return seconds
