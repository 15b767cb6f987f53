"""``POST /v1/audio/peaks``: what a waveform is drawn from, for recordings that a page can't decode at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import FileIO
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import Response

from whisper_max.audio.reading import Reading
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.server.errors import APIError
from whisper_max.server.http.events import timed_out
from whisper_max.server.http.exchange import counted, missing, unless_gone
from whisper_max.server.http.transcriptions import REFUSALS
from whisper_max.server.http.uploads import read_form
from whisper_max.server.recordings import Wanted
from whisper_max.server.spool import DiskSpace
from whisper_max.server.state import Shared, shared

router = APIRouter(prefix="/v1/audio", tags=["audio"])

PEAKS = 100  # values for each second
_SAMPLES = SAMPLE_RATE // PEAKS
_FILE = "file"


def _form() -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": "the recording"}
    schema = {"type": "object", "properties": {_FILE: file}, "required": [_FILE]}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


@router.post(
    "/peaks",
    summary="A waveform to draw",
    response_class=Response,
    openapi_extra={"requestBody": _form()},
    responses={200: {"content": {"application/octet-stream": {}}}, **REFUSALS},
)
async def peaks(request: Request) -> Response:
    """The loudest sample of each hundredth of a second, a byte each; 255 is the loudest of the recording."""
    return await counted(request, "peaks", lambda _count: _answer(request, shared(request)), APIError.response)


async def _answer(request: Request, server: Shared) -> Response:
    settings, place, ended = server.settings, DiskSpace(server.spool), threading.Event()
    try:
        with server.admission.admit():
            async with read_form(request, settings, place, _FILE) as form:
                if form.file is None:
                    raise missing(_FILE)
                wanted = Wanted(settings.max_seconds, ended.is_set, None)
                file = form.file
                work = asyncio.wrap_future(server.workers.submit(file, lambda: _decoded(server, file, wanted)))
                async with asyncio.timeout(settings.request_timeout):
                    values = await unless_gone(request, work)
    except TimeoutError as error:
        raise timed_out(settings.request_timeout) from error
    finally:
        ended.set()
        place.close()
    return Response(values.tobytes(), media_type="application/octet-stream")


def _decoded(server: Shared, file: FileIO, wanted: Wanted) -> NDArray[np.uint8]:
    found: list[AudioWarning] = []  # of what is damaged, which is drawn as silence
    decoders = server.workers.decoders
    with closing(decoders.decode(file, Reading(_FILE), found.append, check=wanted.check, later=True)) as pieces:
        return shown(loudest(_watched(pieces, wanted)))


def _watched(pieces: Iterable[NDArray[np.float32]], wanted: Wanted) -> Iterator[NDArray[np.float32]]:
    n_samples = 0
    for piece in pieces:
        n_samples += len(piece)
        wanted.watch(n_samples / SAMPLE_RATE)
        yield piece


def loudest(pieces: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The loudest sample of each hundredth of a second, the last of which may be shorter.

    Args:
        pieces: (n,) each, float32 at 16 kHz.
    """
    found: list[NDArray[np.float32]] = []
    rest = np.zeros(0, np.float32)
    for piece in pieces:
        samples = np.abs(np.concatenate([rest, piece]))
        n_whole = len(samples) // _SAMPLES
        found.append(samples[: n_whole * _SAMPLES].reshape(n_whole, _SAMPLES).max(axis=1))  # (n_whole,)
        rest = samples[n_whole * _SAMPLES :]
    if len(rest):
        found.append(rest.max(keepdims=True))
    return np.concatenate(found) if found else rest


def shown(peaks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Peaks as bytes, of which 255 is the loudest; all 0 where nothing is heard."""
    most = peaks.max(initial=0.0)
    return np.round(peaks * (255 / most if most > 0 else 0.0)).astype(np.uint8)
