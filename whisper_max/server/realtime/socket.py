"""``/v1/realtime``: OpenAI's transcription sessions over a WebSocket.

Client events: ``session.update``, ``transcription_session.update``, ``input_audio_buffer.append``, ``.commit`` and
``.clear``. Anything else is answered with an ``error`` event, and the session goes on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from whisper_max.audio.vad import new_detector
from whisper_max.errors import WhisperMaxError
from whisper_max.server.errors import OVERLOADED, APIError, as_api_error, stopping
from whisper_max.server.realtime.events import Message, error_message, new_id
from whisper_max.server.realtime.g711 import decode_g711
from whisper_max.server.realtime.honoured import Warnings, honoured
from whisper_max.server.realtime.session import RealtimeSession
from whisper_max.server.realtime.settings import FLAT_PLACES, G711
from whisper_max.server.security import given_key
from whisper_max.server.state import Shared, shared
from whisper_max.speakers.online import online_speakers

log = logging.getLogger(__name__)

router = APIRouter()

FLAT_NAMES = (*FLAT_PLACES, "include")


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    sessions: at a time, of all clients. seconds: a session. idle_seconds: without any event. errors: events that are
    refused, before the session ends. send_seconds: for the client to take a message.
    """

    sessions: int = 16
    seconds: float = 4 * 3600.0
    idle_seconds: float = 300.0
    errors: int = 100
    send_seconds: float = 30.0


LIMITS = Limits()

# Close codes, RFC 6455 and IANA's registry.
_NO_FRAME, _POLICY, _FAULT, _RESTARTING, _TRY_LATER = 1002, 1008, 1011, 1012, 1013


class _End(Exception):
    """The session is over; the client is told why."""

    def __init__(self, error: APIError, code: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """One session, from its start to its end."""
    server = shared(socket)
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
    connection = _Connection(socket, server, LIMITS)
    try:
        await connection.run()
    except _End as end:
        await connection.end(end)
    except (WebSocketDisconnect, TimeoutError):
        server.metrics.disconnects.inc()
    except Exception as error:
        await connection.end(_End(as_api_error(error), _FAULT))
    finally:
        await connection.close()


class _Connection:
    def __init__(self, socket: WebSocket, server: Shared, limits: Limits) -> None:
        self._socket = socket
        self._server = server
        self._limits = limits
        self._id = new_id("sess")
        self._errors = 0
        self._sending = asyncio.Lock()
        seconds = server.metrics.audio_seconds
        self._session = RealtimeSession(
            server.engines,
            self.send,
            lambda model, length: seconds.labels(model).inc(length),
            new_detector,
            lambda count, position: online_speakers(count, position),
        )
        self._handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            "transcription_session.update": self._update_flat,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }

    async def run(self) -> None:
        """Serve the client until it leaves; raises ``_End`` where the server ends it."""
        self._enter()
        await self._begin()
        await self.send({"type": "session.created", "session": self._described(self._session.settings.model_dump())})
        tasks = [
            asyncio.create_task(self._session.work()),
            asyncio.create_task(self._receive()),
            asyncio.create_task(self._server.admission.stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if not done:
                limit = f"the session has lasted {self._limits.seconds:g} s"
                raise _End(APIError(400, limit, code="session_expired"), _POLICY)
            raise _End(stopping(), _RESTARTING)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _enter(self) -> None:
        active = self._server.metrics.live_sessions
        if self._server.admission.stopping.is_set():
            raise _End(stopping(), _RESTARTING)
        sessions: set[str] = _sessions(self._socket)
        if len(sessions) >= self._limits.sessions:
            message = f"{len(sessions)} sessions are open"
            raise _End(APIError(429, message, type=OVERLOADED, code="too_many_sessions"), _TRY_LATER)
        sessions.add(self._id)
        active.set(len(sessions))

    async def _begin(self) -> None:
        """Take what the address says: ``intent``, which must be transcription, and ``model``, for what comes first."""
        asked = self._socket.query_params
        ticket = self._socket.app.state.tickets.find(given_key(self._socket.headers))
        try:
            if ticket is not None:
                await self._session.configure(ticket.settings)
            if asked.get("intent", "transcription") != "transcription":
                raise APIError(400, "intent: expected transcription", code="invalid_value", param="intent")
            if "model" in asked:
                heard = {"transcription": {"model": self._server.engines.known(asked["model"])}}
                await self._session.configure(self._session.settings.updated({"audio": {"input": heard}}))
        except (APIError, WhisperMaxError) as error:
            raise _End(as_api_error(error), _POLICY) from error

    async def end(self, end: _End) -> None:
        """Tell the client why it is over, and end it."""
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            await self.send(error_message(end.error))
            await self._socket.close(end.code)

    async def close(self) -> None:
        """Free everything."""
        sessions = _sessions(self._socket)
        sessions.discard(self._id)
        self._server.metrics.live_sessions.set(len(sessions))
        await self._session.close()

    async def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            TimeoutError: the client does not take it.
            WebSocketDisconnect: the client is gone, or uvicorn closed the connection after what was no frame.
        """
        body = json.dumps({"event_id": new_id("event"), **message})  # in ASCII: a client's id may hold half a character
        async with self._sending:
            if self._socket.client_state is WebSocketState.CONNECTED:
                try:
                    await asyncio.wait_for(self._socket.send_text(body), self._limits.send_seconds)
                except RuntimeError as error:  # uvicorn's, of whatever is sent behind its own close
                    raise WebSocketDisconnect(_NO_FRAME) from error

    # ---------------------------------------------------------------- the client's events

    async def _receive(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._limits.idle_seconds)
            except TimeoutError as error:
                idle = f"nothing came for {self._limits.idle_seconds:g} s"
                raise _End(APIError(408, idle, code="idle_timeout"), _POLICY) from error
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            event_id = None
            try:
                event = _parsed(message.get("text"))
                event_id = _event_id(event)
                await self._handle(event)
            except (APIError, WhisperMaxError) as error:
                await self.send(error_message(as_api_error(error), event_id))
                self._count_error()

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self._limits.errors:
            raise _End(APIError(400, "too many events that are wrong", code="too_many_errors"), _POLICY)

    async def _handle(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            known = ", ".join(self._handlers)
            raise APIError(400, f"unknown type of event: expected {known}", code="unknown_event", param="type")
        await handler(event)

    async def _update(self, event: dict[str, Any]) -> None:
        warnings = await self._configure(_fields(event))
        await self.send({"type": "session.updated", "session": self._described(self._session.settings.model_dump())})
        await self._warn(warnings)

    async def _update_flat(self, event: dict[str, Any]) -> None:
        top = {name: value for name, value in event.items() if name in FLAT_NAMES}  # as the first beta had it
        warnings = await self._configure(_fields(event) if "session" in event or not top else top)
        session = self._described(self._session.settings.flat())
        await self.send({"type": "transcription_session.updated", "session": session})
        await self._warn(warnings)

    async def _configure(self, asked: dict[str, Any]) -> Warnings:
        """Take what can be had of it; returns what can't."""
        changes, warnings = honoured(asked)
        if warnings and self._server.settings.strict_fields:
            first = warnings[0]
            message = f"{first['param']}: {first['message']}"
            raise APIError(400, message, code="invalid_value", param=first["param"])
        await self._session.configure(self._session.settings.updated(changes))
        return warnings

    async def _warn(self, warnings: Warnings) -> None:
        if warnings:
            log.warning("settings that can't be had: %a", ", ".join(warning["param"] for warning in warnings))
            await self.send({"type": "whisper_max.warning", "warnings": warnings})

    async def _append(self, event: dict[str, Any]) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str):
            raise APIError(400, "expected audio as base64 text", code="invalid_audio", param="audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise APIError(400, "the audio is not base64", code="invalid_audio", param="audio") from error
        format = self._session.settings.heard.format.type
        if format in G711:
            await self._session.append(decode_g711(data, format))
            return
        if len(data) % 2:
            raise APIError(400, "half a sample: expected 16-bit samples", code="invalid_audio", param="audio")
        await self._session.append(np.frombuffer(data, "<i2").astype(np.int16))

    async def _commit(self, _event: dict[str, Any]) -> None:
        await self._session.commit()

    async def _clear(self, _event: dict[str, Any]) -> None:
        await self._session.clear()

    def _described(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The session as its client is told it; ``whole_windows`` is ours."""
        own = {"id": self._id, "object": "realtime.transcription_session"}
        return {**own, **settings, "whole_windows": self._session.whole_windows}


def _sessions(socket: WebSocket) -> set[str]:
    """The open sessions of the app, by id."""
    if not hasattr(socket.app.state, "realtime_sessions"):
        socket.app.state.realtime_sessions = set()
    sessions: set[str] = socket.app.state.realtime_sessions
    return sessions


def _parsed(text: str | None) -> dict[str, Any]:
    if text is None:
        raise APIError(400, "expected JSON as text, found bytes", code="invalid_json")
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise APIError(400, "not JSON", code="invalid_json") from error
    if not isinstance(event, dict):
        raise APIError(400, "not a JSON object", code="invalid_json")
    return event


def _event_id(event: dict[str, Any]) -> str | None:
    found = event.get("event_id")
    return found[:200] if isinstance(found, str) else None


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    session = event.get("session")
    if not isinstance(session, dict):
        raise APIError(400, "expected an object", code="invalid_value", param="session")
    return session
