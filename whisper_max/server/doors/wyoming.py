"""``--wyoming tcp://HOST:PORT``: the Wyoming protocol, by which Home Assistant asks for speech to text.

A client describes what it sends (``transcribe``, ``audio-start``), sends it (``audio-chunk``) and ends it
(``audio-stop``); the answer is ``transcript``, or ``error``. The protocol has no keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.live.intake import Intake
from whisper_max.server.doors.wyoming_events import LONGEST_LINE, BrokenEvent, Event, read_event, write_event
from whisper_max.server.errors import APIError, as_api_error, busy
from whisper_max.server.http.events import timed_out
from whisper_max.server.http.formats import text_of
from whisper_max.server.jobs import Finished
from whisper_max.server.state import Shared
from whisper_max.text.languages import LANGUAGES
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.version import VERSION

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 64
_MOST_BYTES = 32 << 20  # of one utterance, in memory: 17 minutes at 16 kHz
_UNREAD_SECONDS, _UNREAD_BYTES = 1.0, 8 << 20  # of what a client sends on that was told an error
_WHO = {"name": "OpenAI", "url": "https://github.com/openai/whisper"}


class WyomingServer:
    """Listens for Wyoming's clients; used on the event loop.

    Args:
        shared: the server whose models it asks.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OptionError: it can't be listened there.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=LONGEST_LINE)
        except OSError as error:
            raise OptionError("can't listen there", where="wyoming", found=error.strerror or error) from error
        log.info("wyoming: listening on tcp://%s:%d", host, self.port)

    @property
    def port(self) -> int:
        return 0 if self._server is None else int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what runs."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        client = _Client(self._shared, reader, writer)
        with suppress(ConnectionError, TimeoutError, asyncio.CancelledError):  # it left, or does not read, or the end
            if len(self._connections) > _MOST_CONNECTIONS:
                await client.refuse(busy("too many connections are open", 1))
            else:
                await client.run()
            await client.leave()
        writer.close()


class _Client:
    def __init__(self, shared: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._shared = shared
        self._reader = reader
        self._writer = writer
        self._asked: dict[str, Any] = {}
        self._audio: _Audio | None = None
        self._failed = False  # the utterance that is being sent was refused: one error is enough for all of it

    async def run(self) -> None:
        """Answer events until the client leaves, says nothing for too long, or sends what is none."""
        while True:
            try:
                async with asyncio.timeout(self._shared.settings.idle_timeout):
                    event = await read_event(self._reader)
            except BrokenEvent as error:
                await self.refuse(APIError(400, str(error), code="malformed_event"))
                return
            if event is None:
                return
            try:
                await self._handle(event)
            except Exception as error:
                self._audio, self._failed = None, event.type in ("audio-start", "audio-chunk")
                await self.refuse(as_api_error(error))

    async def refuse(self, error: APIError) -> None:
        """Tell an error."""
        await self._send(Event("error", {"text": error.message, "code": error.code}))

    async def leave(self) -> None:
        """Say no more, and read what is on its way: left unread, it would cost the client its last answer."""
        self._writer.write_eof()
        async with asyncio.timeout(_UNREAD_SECONDS):
            n_bytes = 0
            while n_bytes < _UNREAD_BYTES and (data := await self._reader.read(LONGEST_LINE)):
                n_bytes += len(data)

    async def _send(self, event: Event) -> None:
        self._writer.write(write_event(event))
        async with asyncio.timeout(self._shared.settings.idle_timeout):
            await self._writer.drain()

    async def _handle(self, event: Event) -> None:
        if event.type == "describe":
            await self._send(Event("info", _described(self._shared)))
        elif event.type == "ping":
            await self._send(Event("pong", event.data))
        elif event.type == "transcribe":
            self._asked = event.data
        elif event.type == "audio-start":
            self._failed = False
            self._audio = _Audio(event.data)
        elif event.type == "audio-chunk" and not self._failed:
            self._audio = self._audio or _Audio(event.data)
            self._audio.add(event.payload)
        elif event.type == "audio-stop":
            audio, self._audio = self._audio, None
            failed, self._failed = self._failed, False
            if not failed:
                await self._transcribe(audio or _Audio({}))

    async def _transcribe(self, audio: _Audio) -> None:
        start, status = time.monotonic(), 200
        try:
            samples = await asyncio.to_thread(audio.samples)
            text, language = await self._text(samples)
            await self._send(Event("transcript", {"text": text, "language": language}))
        except (APIError, WhisperMaxError) as error:
            status = as_api_error(error).status
            raise
        finally:
            self._shared.metrics.requests.labels("wyoming", str(status)).inc()
            self._shared.metrics.seconds.labels("wyoming").observe(time.monotonic() - start)

    async def _text(self, samples: NDArray[np.float32]) -> tuple[str, str]:
        settings = self._shared.settings
        options = TranscribeOptions(language=_text_of(self._asked, "language"))
        async with AsyncExitStack() as stack:
            stack.enter_context(self._shared.admission.admit())
            engine = await stack.enter_async_context(self._shared.engines.use(_text_of(self._asked, "name")))
            check_options(engine.model.dims, engine.model.vocabulary, options)
            job = engine.submit(samples, options, max_seconds=settings.max_seconds)
            stack.callback(job.cancel)
            try:
                async with asyncio.timeout(settings.request_timeout):
                    async for event in job:
                        if isinstance(event, Finished):
                            self._shared.metrics.audio_seconds.labels(engine.id).inc(event.result.duration)
                            return text_of(event.result), event.result.language
            except TimeoutError as error:
                raise timed_out(settings.request_timeout) from error
        raise APIError(500, "no transcript", code="internal_error")


class _Audio:
    """The utterance that is being sent, of 16-bit samples."""

    def __init__(self, about: dict[str, Any]) -> None:
        if about.get("width", 2) != 2:
            raise APIError(400, "expected 16-bit samples: width 2", code="invalid_audio", param="width")
        rate, channels = about.get("rate", 16000), about.get("channels", 1)
        if not (type(rate) is int and type(channels) is int):
            raise APIError(400, "expected rate and channels as whole numbers", code="invalid_audio")
        self._intake = Intake(rate, channels)
        self._bytes = bytearray()

    def add(self, payload: bytes) -> None:
        """Take some more."""
        if len(self._bytes) + len(payload) > _MOST_BYTES:
            raise APIError(413, f"expected at most {_MOST_BYTES >> 20} MiB of audio", code="too_large")
        self._bytes += payload

    def samples(self) -> NDArray[np.float32]:
        """All of it at 16 kHz, (n,) float32; raises ``APIError`` where a sample is cut."""
        channels = self._intake.channels
        if len(self._bytes) % (2 * channels):
            raise APIError(400, "the audio ends in the middle of a sample", code="invalid_audio")
        samples = np.frombuffer(self._bytes, "<i2").astype(np.int16).reshape(-1, channels)
        return np.concatenate([self._intake.convert(samples), self._intake.flush()])


def _text_of(asked: dict[str, Any], name: str) -> str | None:
    """What was asked for; None where nothing was."""
    found = asked.get(name)
    if found is not None and not (isinstance(found, str) and len(found) <= 200):
        raise APIError(400, f"{name}: expected a text", code="invalid_value", param=name)
    return found or None


def _described(shared: Shared) -> dict[str, Any]:
    base = {"attribution": _WHO, "installed": True, "version": VERSION}
    models = [
        {**base, "name": id, "description": id, "languages": ["en"] if id.endswith(".en") else list(LANGUAGES)}
        for id in shared.engines.ids
    ]
    program = {**base, "name": "whisper_max", "description": "OpenAI Whisper on MAX Graph", "models": models}
    return {"asr": [program]}
