"""One request that brings a recording, from its first byte to its answer, through whatever door it came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from io import FileIO
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from whisper_max.server.errors import APIError, as_api_error
from whisper_max.server.http.addresses import fetch_recording
from whisper_max.server.http.asked import Asked
from whisper_max.server.http.events import EventStream, drop, timed_out, until_gone
from whisper_max.server.http.formats import answer
from whisper_max.server.http.uploads import Form, discard_body, read_form
from whisper_max.server.jobs import Cancelled, Event, Finished, Job
from whisper_max.server.recordings import Audio
from whisper_max.server.settings import Settings
from whisper_max.server.spool import DiskSpace
from whisper_max.server.state import Shared, shared
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.result import TranscriptionResult

T = TypeVar("T")

_GONE = 499  # nginx's status for a client that left; nobody reads it but the metrics


def _as_it_is(_request: Request, file: FileIO) -> Audio:
    return file


@dataclass(frozen=True)
class Door:
    """How one protocol asks, and how it is answered.

    endpoint: its name in the metrics. read: what a request and its form ask for. answer: the whole transcript.
    refuse: an error. file: the field with the recording. audio: the recording of a request and its file.
    """

    endpoint: str
    read: Callable[[Request, Form, Settings], Asked]
    answer: Callable[[Asked, TranscriptionResult], Response] = answer
    refuse: Callable[[APIError], Response] = APIError.response
    file: str = "file"
    audio: Callable[[Request, FileIO], Audio] = _as_it_is


async def respond(request: Request, door: Door) -> Response:
    """Transcribe a request's recording."""
    server = shared(request)
    return await counted(
        request, door.endpoint, lambda count: _Exchange(request, server, door, count).run(), door.refuse
    )


async def counted(
    request: Request,
    endpoint: str,
    work: Callable[[Callable[[int], None]], Awaitable[Response]],
    refuse: Callable[[APIError], Response],
) -> Response:
    """Answer, and count what was answered.

    Args:
        request: what is answered.
        endpoint: its name in the metrics.
        work: makes the answer; a stream counts by what it is given, at its end.
        refuse: makes one of an error.
    """
    server, start = shared(request), time.monotonic()

    def count(status: int) -> None:
        server.metrics.requests.labels(endpoint, str(status)).inc()
        server.metrics.seconds.labels(endpoint).observe(time.monotonic() - start)

    try:
        response = await work(count)
    except ClientDisconnect:
        server.metrics.disconnects.inc()
        count(_GONE)
        return Response(status_code=_GONE)
    except Exception as error:
        refusal = as_api_error(error)
        if not await discard_body(request):
            refusal.headers["Connection"] = "close"
        count(refusal.status)
        return refuse(refusal)
    if not isinstance(response, EventStream):
        count(response.status_code)
    return response


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of the work, as long as who asked for it is there.

    Raises:
        ClientDisconnect: the client went away first.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientDisconnect
    finally:
        await drop(gone, doing)


def missing(field: str) -> APIError:
    """A form without a field that it must have."""
    return APIError(400, f"{field}: missing", code="missing_field", param=field)


class _Exchange:
    """One request: its place, its form, its engine, its job."""

    def __init__(self, request: Request, server: Shared, door: Door, count: Callable[[int], None]) -> None:
        self._request = request
        self._server = server
        self._door = door
        self._count = count

    async def run(self) -> Response:
        """Do it; a stream goes on after this, with what it needs."""
        settings = self._server.settings
        async with AsyncExitStack() as stack:
            stack.enter_context(self._server.admission.admit())
            place = DiskSpace(self._server.spool)
            stack.callback(place.close)
            form = await stack.enter_async_context(read_form(self._request, settings, place, self._door.file))
            urls = form.fields.pop("url", [])
            asked = self._door.read(self._request, form, settings)
            if urls:
                await unless_gone(self._request, fetch_recording(form, urls, settings, place))
            if form.file is None:
                raise missing(self._door.file)
            self._server.metrics.upload_bytes.inc(form.n_bytes)
            try:
                async with asyncio.timeout(settings.request_timeout):
                    return await self._transcribe(asked, form.file, place, stack)
            except TimeoutError as error:
                raise timed_out(settings.request_timeout) from error

    async def _transcribe(self, asked: Asked, file: FileIO, place: DiskSpace, stack: AsyncExitStack) -> Response:
        settings = self._server.settings
        engine = await unless_gone(self._request, stack.enter_async_context(self._server.engines.use(asked.model)))
        check_options(engine.model.dims, engine.model.vocabulary, asked.options)
        asked = replace(asked, vocabulary=engine.model.vocabulary)
        audio = self._door.audio(self._request, file)
        job = engine.submit(
            audio,
            asked.options,
            max_seconds=settings.max_seconds,
            place=place,
            references=asked.references,
            known=asked.known,
        )
        file.close()  # the engine has its own hold on it, and lets go once it is decoded
        stack.callback(job.cancel)
        events = self._counted(job, engine.id)
        if not asked.stream:
            return self._door.answer(asked, await unless_gone(self._request, _last(events)))
        first = await unless_gone(self._request, anext(events))
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


async def _last(events: AsyncIterator[Event]) -> TranscriptionResult:
    """The whole transcript, which comes last."""
    async for event in events:
        if isinstance(event, Finished):
            return event.result
    raise Cancelled("cancelled")
