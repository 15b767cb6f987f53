"""Keys of one realtime session each, which a server of one's own hands to a browser in place of its API key.

``POST /v1/realtime/client_secrets``, and ``/v1/realtime/transcription_sessions`` as the beta had it.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from whisper_max.server.errors import OVERLOADED, APIError
from whisper_max.server.http.uploads import body_chunks
from whisper_max.server.realtime.events import new_id
from whisper_max.server.realtime.honoured import honoured
from whisper_max.server.realtime.settings import SessionSettings
from whisper_max.server.state import shared

PREFIX = "ek_"
_SECONDS, _FEWEST, _MOST = 60, 10, 7200  # that a ticket is good for; OpenAI's limits
_MOST_TICKETS = 1000
_MOST_BYTES = 64 << 10  # of a request

_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "No such settings"},
    404: {"description": "No such model"},
    408: {"description": "The request is too slow"},
    413: {"description": "Too large"},
    429: {"description": "Too many keys are out"},
}
_DESCRIPTION: dict[str, Any] = {
    "responses": _RESPONSES,
    "openapi_extra": {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}},
}

router = APIRouter(prefix="/v1/realtime", tags=["audio"])


@dataclass(frozen=True)
class Ticket:
    """What one key opens: a session with these settings, until then in Unix time."""

    settings: SessionSettings
    expires: float


class Tickets:
    """The tickets that are out; used on the event loop only."""

    def __init__(self) -> None:
        self._out: dict[str, Ticket] = {}

    def issue(self, settings: SessionSettings, seconds: int) -> tuple[str, Ticket]:
        """A new key, and its ticket.

        Raises:
            APIError: 429 where too many are out.
        """
        now = time.time()
        self._out = {key: ticket for key, ticket in self._out.items() if ticket.expires > now}
        if len(self._out) >= _MOST_TICKETS:
            headers = {"Retry-After": str(_SECONDS)}
            raise APIError(429, "too many client secrets are out", type=OVERLOADED, code="overloaded", headers=headers)
        key = PREFIX + secrets.token_urlsafe(32)
        self._out[key] = Ticket(settings, now + seconds)
        return key, self._out[key]

    def find(self, key: str) -> Ticket | None:
        """The ticket of a key; None where it is none, or too old."""
        ticket = self._out.get(key)
        return ticket if ticket is not None and ticket.expires > time.time() else None


@router.post("/client_secrets", summary="A key for one realtime session", **_DESCRIPTION)
async def client_secrets(request: Request) -> dict[str, Any]:
    """A short-lived key, and the session that it opens."""
    body = await _body(request)
    asked = body.get("session", {})
    key, ticket = _issue(request, _object(asked, "session"), _seconds(body.get("expires_after")))
    expires = int(ticket.expires)
    return {"value": key, "expires_at": expires, "session": {**_described(ticket), "expires_at": expires}}


@router.post("/transcription_sessions", summary="A key for one realtime session, as the beta had it", **_DESCRIPTION)
async def transcription_sessions(request: Request) -> dict[str, Any]:
    """The session, with the key that opens it inside."""
    key, ticket = _issue(request, await _body(request), _SECONDS)
    session = {"id": new_id("sess"), "object": "realtime.transcription_session", **ticket.settings.flat()}
    return {**session, "client_secret": {"value": key, "expires_at": int(ticket.expires)}}


def _issue(request: Request, asked: dict[str, Any], seconds: int) -> tuple[str, Ticket]:
    changes, _ = honoured(asked)
    settings = SessionSettings().updated(changes)
    settings.live_options()  # refuses what no session could have
    if settings.heard.transcription.model is not None:
        shared(request).engines.known(settings.heard.transcription.model)
    tickets: Tickets = request.app.state.tickets
    return tickets.issue(settings, seconds)


def _described(ticket: Ticket) -> dict[str, Any]:
    return {"id": new_id("sess"), "object": "realtime.transcription_session", **ticket.settings.model_dump()}


async def _body(request: Request) -> dict[str, Any]:
    content = bytearray()
    settings = shared(request).settings
    async with aclosing(body_chunks(request, settings.upload_timeout, settings.idle_timeout)) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > _MOST_BYTES:
                raise APIError(413, "the request is too large", code="too_large", headers={"Connection": "close"})
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise APIError(400, "not JSON", code="invalid_json") from error
    return _object(body, None)


def _object(value: object, param: str | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise APIError(400, "expected a JSON object", code="invalid_json", param=param)
    return value


def _seconds(expires_after: object) -> int:
    if expires_after is None:
        return _SECONDS
    seconds = expires_after.get("seconds", _SECONDS) if isinstance(expires_after, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not _FEWEST <= seconds <= _MOST:
        message = f"expires_after.seconds: expected {_FEWEST} to {_MOST}"
        raise APIError(400, message, code="invalid_value", param="expires_after")
    return seconds
