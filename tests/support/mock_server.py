"""A server that behaves as a test wants: the real page and policy, and answers that are made up here.

It speaks the same protocol as the real one, which the tests also run the page against; this one can also be busy,
slow, broken or locked, exactly when a test needs it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from whisper_max.server.http.fields import form_schema
from whisper_max.server.http.page import add_page
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word


@dataclass
class Behaviour:
    """How the server behaves, and what it saw.

    delay: seconds before each segment. holds_at: the segment before which answers wait until this is None; passes: how
    many may go on nevertheless. status: of the answer to a recording. retry_after: header. message: of the
    error. key: that is asked for. breaks_after: segments before an error ends the stream. no_speech: nothing is said.
    result: what is said, None: ``spoken``. extra: more keys of each segment, by its id.
    """

    delay: float = 0.0
    holds_at: int | None = None
    passes: int = 0
    status: int = 200
    retry_after: int | None = None
    message: str = "the form is wrong"
    key: str | None = None
    breaks_after: int | None = None
    no_speech: bool = False
    result: TranscriptionResult | None = None
    extra: dict[int, dict[str, Any]] = field(default_factory=dict)
    forms: list[dict[str, Any]] = field(default_factory=list)
    finished: int = 0
    gone: int = 0
    live_seconds: float = 0.0
    live_updates: list[dict[str, Any]] = field(default_factory=list)
    live_breaks: bool = False


def spoken() -> TranscriptionResult:
    """What every recording says here: 11 s, two segments, words."""
    texts = (
        (0.0, 7.6, " And so, my fellow Americans, ask not what your country can do for you,"),
        (7.6, 10.9, " ask what you can do for your country & <others>."),
    )
    segments = []
    for id, (start, end, text) in enumerate(texts):
        words = text.split()
        step = (end - start) / len(words)
        segments.append(
            Segment(
                id=id,
                seek=0,
                start=start,
                end=end,
                text=text,
                tokens=[50364, 400, 370 + id],
                temperature=0.0,
                avg_logprob=-0.25,
                compression_ratio=1.25,
                no_speech_prob=0.0625,
                words=[
                    Word(f" {word}", round(start + i * step, 2), round(start + (i + 1) * step, 2), 0.5)
                    for i, word in enumerate(words)
                ],
            )
        )
    text = "".join(segment.text for segment in segments)
    return TranscriptionResult(text, segments, "en", duration=11.0, options={"task": "transcribe"})


def make_app() -> FastAPI:
    """The app; it behaves as ``app.state.behaviour`` says when a request begins."""
    app = FastAPI()
    add_page(app)

    def refusal(request: Request) -> Response | None:
        key = app.state.behaviour.key
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            return error(401, "no valid API key")
        return None

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        data = [{"id": "tiny.en"}, {"id": "base", "default": True}]
        return refusal(request) or JSONResponse({"object": "list", "data": data})

    @app.post("/v1/audio/transcriptions", response_model=None, openapi_extra={"requestBody": form_schema()})
    async def transcriptions(request: Request) -> Response:
        return refusal(request) or await answer(request)

    @app.post("/v1/audio/translations", response_model=None)
    async def translations(request: Request) -> Response:
        return refusal(request) or await answer(request)

    async def answer(request: Request) -> Response:
        behaviour: Behaviour = app.state.behaviour
        form = await request.form()
        sent = {name: form.getlist(name) for name in form if name != "file"}
        behaviour.forms.append({**sent, "path": request.url.path, "bytes": cast(UploadFile, form["file"]).size})
        await form.close()
        if behaviour.status != 200:
            headers = {} if behaviour.retry_after is None else {"Retry-After": str(behaviour.retry_after)}
            return error(behaviour.status, behaviour.message, headers)
        return StreamingResponse(events(behaviour), media_type="text/event-stream")

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await socket.accept(subprotocol="realtime")
        with suppress(WebSocketDisconnect):
            await listen(socket, app.state.behaviour)

    return app


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return JSONResponse(body, status, headers)


async def events(behaviour: Behaviour) -> AsyncIterator[str]:
    result = behaviour.result or spoken()
    segments, done = [] if behaviour.no_speech else result.segments, 0.0
    try:
        for segment in segments:
            if behaviour.delay:
                await asyncio.sleep(behaviour.delay)
            while behaviour.holds_at == segment.id and not passes(behaviour):
                await asyncio.sleep(0.1)
                yield progress(done, result)
            if behaviour.breaks_after == segment.id:
                yield data({"error": {"message": "the engine failed", "type": "server_error", "code": None}})
                return
            body = {**segment.to_dict(), **behaviour.extra.get(segment.id, {})}
            body |= {"type": "transcript.text.segment", "id": str(segment.id)}
            yield data({"type": "transcript.text.delta", "delta": segment.text})
            yield data(body)
            done = segment.end
            yield progress(done, result)
        text = "" if behaviour.no_speech else result.text.strip()
        language = "" if behaviour.no_speech else "english"
        end = {"type": "transcript.text.done", "text": text, "language": language, "duration": result.duration}
        behaviour.finished += 1
        yield data(end)
    except asyncio.CancelledError:
        behaviour.gone += 1
        raise


def passes(behaviour: Behaviour) -> bool:
    behaviour.passes, may = max(behaviour.passes - 1, 0), behaviour.passes > 0
    return may


def progress(done: float, result: TranscriptionResult) -> str:
    return data({"type": "transcript.progress", "seconds_done": done, "seconds": result.duration})


def data(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


async def listen(socket: WebSocket, behaviour: Behaviour) -> None:
    """One utterance that goes on while samples come: a word each half second, the next one tentative."""
    words = [" one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten"]
    n_bytes = said = 0

    async def send(type: str, **more: Any) -> None:
        await socket.send_json({"type": type, "event_id": "event_1", **more})

    item = "item_1"
    prefix = "conversation.item.input_audio_transcription"
    await send("session.created", session={"type": "transcription"})
    while True:
        event = await socket.receive_json()
        if event["type"] == "session.update":
            behaviour.live_updates.append(event["session"])
            await send("session.updated", session=event["session"])
        elif event["type"] == "input_audio_buffer.append":
            if n_bytes == 0:
                await send("input_audio_buffer.speech_started", item_id=item, audio_start_ms=100)
            n_bytes += len(base64.b64decode(event["audio"]))
            behaviour.live_seconds = n_bytes / 48000
            if behaviour.live_breaks and n_bytes > 24000:
                await socket.close(1011)
                return
            if behaviour.live_seconds > (said + 1) / 2 and said < len(words) - 1:
                await send(f"{prefix}.delta", item_id=item, content_index=0, delta=words[said])
                await send("whisper_max.tentative", item_id=item, text=words[said + 1])
                said += 1
        elif event["type"] == "input_audio_buffer.commit" and n_bytes == 0:
            await send("error", error={"message": "nothing", "code": "input_audio_buffer_commit_empty"})
        elif event["type"] == "input_audio_buffer.commit":
            n_bytes = 0
            await send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
            end = round(behaviour.live_seconds * 1000)
            await send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=end)
            await send(
                f"{prefix}.completed", item_id=item, content_index=0, transcript="".join(words[: said + 1]).strip()
            )


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """The app on a free port of this machine; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            threading.Event().wait(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
