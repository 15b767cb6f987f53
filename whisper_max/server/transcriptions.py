"""``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import FileIO
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from whisper_max.server.asked import Asked, read_asked
from whisper_max.server.errors import APIError, as_api_error
from whisper_max.server.events import EventStream, drop, timed_out, until_gone
from whisper_max.server.fields import form_schema
from whisper_max.server.formats import answer
from whisper_max.server.jobs import Cancelled, Event, Finished, Job
from whisper_max.server.state import Shared, shared
from whisper_max.server.uploads import discard_body, read_form
from whisper_max.transcribe.result import TranscriptionResult
from whisper_max.transcribe.transcription import check_model

T = TypeVar("T")

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_GONE = 499  # nginx's status for a client that left; nobody reads it but the metrics
_DESCRIPTION: dict[str, Any] = {
    "openapi_extra": {"requestBody": form_schema()},
    "responses": {
        200: {"content": {"application/json": {}, "text/plain": {}, "text/event-stream": {}}},
        **{
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
        },
    },
}


@router.post("/transcriptions", summary="Speech to text", response_class=Response, **_DESCRIPTION)
async def transcribe(request: Request) -> Response:
    """Transcribe a recording in the language that is spoken."""
    return await _respond(request, "transcribe")


@router.post("/translations", summary="Speech to English text", response_class=Response, **_DESCRIPTION)
async def translate(request: Request) -> Response:
    """Translate a recording to English."""
    return await _respond(request, "translate")


async def _respond(request: Request, task: str) -> Response:
    """Answer, and count what was answered."""
    server, start = shared(request), time.monotonic()
    endpoint = "translations" if task == "translate" else "transcriptions"

    def count(status: int) -> None:
        server.metrics.requests.labels(endpoint, str(status)).inc()
        server.metrics.seconds.labels(endpoint).observe(time.monotonic() - start)

    try:
        response = await _Exchange(request, server, task, count).run()
    except ClientDisconnect:
        server.metrics.disconnects.inc()
        count(_GONE)
        return Response(status_code=_GONE)
    except Exception as error:
        refusal = as_api_error(error)
        if not await discard_body(request):
            refusal.headers["Connection"] = "close"
        count(refusal.status)
        return refusal.response()
    if not isinstance(response, EventStream):
        count(response.status_code)
    return response


class _Exchange:
    """One request: its place, its form, its engine, its job."""

    def __init__(self, request: Request, server: Shared, task: str, count: Callable[[int], None]) -> None:
        self._request = request
        self._server = server
        self._task = task
        self._count = count

    async def run(self) -> Response:
        """Do it; a stream goes on after this, with what it needs."""
        settings = self._server.settings
        async with AsyncExitStack() as stack:
            stack.enter_context(self._server.admission.admit())
            form = await stack.enter_async_context(read_form(self._request, settings))
            asked = read_asked(form.fields, self._task, settings.batch_size)
            if form.file is None:
                raise APIError(400, "file: missing", code="missing_field", param="file")
            self._server.metrics.upload_bytes.inc(form.n_bytes)
            try:
                async with asyncio.timeout(settings.request_timeout):
                    return await self._transcribe(asked, form.file, stack)
            except TimeoutError as error:
                raise timed_out(settings.request_timeout) from error

    async def _transcribe(self, asked: Asked, file: FileIO, stack: AsyncExitStack) -> Response:
        settings = self._server.settings
        engine = await self._unless_gone(stack.enter_async_context(self._server.engines.use(asked.model)))
        check_model(engine.model.inference, engine.model.vocabulary, asked.options)
        job = engine.submit(file, asked.options, max_seconds=settings.max_seconds)
        file.close()  # the engine has its own hold on it, and lets go once it is decoded
        stack.callback(job.cancel)
        events = self._counted(job, engine.id)
        if not asked.stream:
            return answer(asked, await self._unless_gone(_last(events)))
        first = await self._unless_gone(anext(events))
        return EventStream(
            asked,
            first,
            events,
            stack.pop_all(),
            seconds=settings.request_timeout,
            idle=settings.idle_timeout,
            on_end=self._end_stream,
        )

    async def _counted(self, job: Job, model: str) -> AsyncIterator[Event]:
        async for event in job:
            if isinstance(event, Finished):
                self._server.metrics.audio_seconds.labels(model).inc(event.result.duration)
            yield event

    def _end_stream(self, error: APIError | None, gone: bool) -> None:
        if gone:
            self._server.metrics.disconnects.inc()
        self._count(_GONE if gone else 200 if error is None else error.status)

    async def _unless_gone(self, work: Awaitable[T]) -> T:
        """The result of the work.

        Raises:
            ClientDisconnect: the client went away first.
        """
        doing = asyncio.ensure_future(work)
        gone = asyncio.create_task(until_gone(self._request.receive))
        try:
            await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise ClientDisconnect
        finally:
            await drop(gone, doing)


async def _last(events: AsyncIterator[Event]) -> TranscriptionResult:
    """The whole transcript, which comes last."""
    async for event in events:
        if isinstance(event, Finished):
            return event.result
    raise Cancelled("cancelled")
