"""The answer as server-sent events: ``transcript.text.delta`` as segments come, ``transcript.text.done`` at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from whisper_max.server.errors import APIError, as_api_error
from whisper_max.server.http.asked import Asked
from whisper_max.server.http.fields import DIARIZED
from whisper_max.server.http.formats import (
    diarized,
    diarized_segment,
    logprobs_of,
    segment_of,
    text_of,
    tokens_of,
    verbose,
    warnings_of,
)
from whisper_max.server.jobs import Event, Finished, Progress
from whisper_max.transcribe.result import Segment

_KEEP_ALIVE = 15.0  # seconds of silence after which a comment shows that the server is there


class Deltas:
    """The text in pieces which, put together, are the text of the whole: without white space at its ends."""

    def __init__(self) -> None:
        self._held = ""
        self._begun = False

    def next(self, text: str) -> str:
        """What can be given out of it now."""
        text = self._held + text
        if not self._begun:
            text = text.lstrip()
        delta = text.rstrip()
        self._held = text[len(delta) :]
        self._begun = self._begun or bool(delta)
        return delta


def messages(asked: Asked, event: Event, deltas: Deltas) -> list[dict[str, Any]]:
    """What one event of the job says to the client."""
    if isinstance(event, Finished):
        body: dict[str, Any] = {"usage": tokens_of(event.result), **logprobs_of(asked, event.result.segments)}
        if asked.format == "verbose_json":
            body = verbose(asked, event.result)
        elif asked.format == DIARIZED:
            body = diarized(asked, event.result)
        if warnings := warnings_of(asked, event.result):
            body["warnings"] = warnings
        return [{"type": "transcript.text.done", **body, "text": text_of(event.result)}]
    said: list[dict[str, Any]] = []
    for segment in event.segments:
        if delta := deltas.next(segment.text):
            said.append({"type": "transcript.text.delta", "delta": delta, **logprobs_of(asked, [segment])})
        if asked.format == "verbose_json":
            said.append(_segment(segment))
        elif asked.format == DIARIZED and segment.text.strip():
            said.append(diarized_segment(segment))
    if asked.progress:
        said.append(_progress(event))
    return said


def _segment(segment: Segment) -> dict[str, Any]:
    body = {**segment_of(segment), "type": "transcript.text.segment", "id": str(segment.id)}
    if segment.words is not None:
        body["words"] = [word.to_dict() for word in segment.words]  # with their spaces: joined, the text
    return body


def _progress(event: Progress) -> dict[str, Any]:
    return {"type": "transcript.progress", "seconds_done": event.done, "seconds": event.total}


class EventStream(Response):
    """Sends a job's events until they end, the client goes away, or it reads too slowly.

    Args:
        asked: the request.
        first: the event that has come already; events: those that follow.
        context: closed with the stream, whatever ends it.
        seconds: until the last event; idle: until the client takes one.
        on_end: told the error that ended it, if any, and whether the client went away or does not read.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        asked: Asked,
        first: Event,
        events: AsyncIterator[Event],
        context: AsyncExitStack,
        *,
        seconds: float,
        idle: float,
        on_end: Callable[[APIError | None, bool], None],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._asked, self._first, self._events, self._context = asked, first, events, context
        self._seconds, self._idle, self._on_end = seconds, idle, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        gone = asyncio.create_task(until_gone(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            async with self._context:
                await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and sending.exception() is None:
                    self._on_end(sending.result(), False)
                else:
                    self._on_end(None, True)
        finally:
            await drop(gone, sending)

    async def _send_all(self, send: Send) -> APIError | None:
        """Send everything; returns the error that was sent last, if any."""
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.timeout(self._seconds):
                await self._send_events(send)
                error = None
        except _Stuck:
            raise
        except Exception as raised:
            error = timed_out(self._seconds) if isinstance(raised, TimeoutError) else as_api_error(raised)
            await self._send_body(send, _data(error.body()))
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        return error

    async def _send_events(self, send: Send) -> None:
        deltas = Deltas()
        for message in messages(self._asked, self._first, deltas):
            await self._send_body(send, _data(message))
        next_event = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                await asyncio.wait({next_event}, timeout=_KEEP_ALIVE)
                if not next_event.done():
                    await self._send_body(send, b":\n\n")
                    continue
                event = next_event.result()
                if event is None:
                    return
                for message in messages(self._asked, event, deltas):
                    await self._send_body(send, _data(message))
                next_event = asyncio.ensure_future(anext(self._events, None))
        finally:
            await drop(next_event)

    async def _send_body(self, send: Send, body: bytes) -> None:
        await self._send(send, {"type": "http.response.body", "body": body, "more_body": True})

    async def _send(self, send: Send, message: Any) -> None:  # noqa: ANN401 - one of ASGI's many
        try:
            async with asyncio.timeout(self._idle):
                await send(message)
        except TimeoutError as error:
            raise _Stuck from error


class _Stuck(Exception):
    """The client does not read."""


def _data(message: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(message, ensure_ascii=False)}\n\n".encode()


def timed_out(seconds: float) -> APIError:
    """A request that takes too long; the client should not try it again."""
    return APIError(
        504,
        f"not done within {seconds:g} s",
        type="timeout_error",
        code="request_timeout",
        headers={"X-Should-Retry": "false"},
    )


async def until_gone(receive: Receive) -> None:
    """Wait until the client is gone; its request must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for them; what they end with is nobody's business any more."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
