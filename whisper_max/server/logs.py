"""What the server says of itself: one line for each event, with its time, its level and the request it is about."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_max.server.errors import as_api_error

log = logging.getLogger(__name__)

_REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
_SENT_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_HEADER = "x-request-id"
_QUIET = ("/health", "/ready", "/metrics")  # asked every few seconds


def set_up_logging(level: str, format: str) -> None:
    """Write what is said from this level on to standard error.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        format: ``text``, or ``json`` for one object a line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for library in ("httpx", "huggingface_hub", "urllib3", "websockets"):
        logging.getLogger(library).setLevel(max(logging.getLevelName(level.upper()), logging.WARNING))


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO message [request-id]``, and a stack trace below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; what would begin another one in it is escaped."""
        id = _REQUEST_ID.get()
        message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in record.getMessage())
        line = f"{_time_of(record)} {record.levelname} {message}" + (f" [{id}]" if id else "")
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonLines(logging.Formatter):
    """An object with ``time``, ``level``, ``logger``, ``message``, ``request_id``, ``error`` and what was measured."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        said: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id := _REQUEST_ID.get():
            said["request_id"] = id
        if record.exc_info is not None:
            said["error"] = self.formatException(record.exc_info)
        measured: Mapping[str, object] = getattr(record, "measured", {})
        return json.dumps({**said, **measured})


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RequestLog:
    """Middleware that gives each request an id, its own where it sends one, and says how it ended.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what is not ours and was raised before the answer began is answered too."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(_HEADER, "")
        id = sent if _SENT_ID.fullmatch(sent) else uuid.uuid4().hex
        token = _REQUEST_ID.set(id)
        start = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                MutableHeaders(scope=message)[_HEADER] = id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status or scope["type"] != "http":
                raise
            await as_api_error(error).response()(scope, receive, send_with_id)
        finally:
            _say(scope, status, time.monotonic() - start)
            _REQUEST_ID.reset(token)


def _say(scope: Scope, status: int, seconds: float) -> None:
    method = scope.get("method", "WEBSOCKET")
    path = scope.get("raw_path", b"").decode("latin-1")  # as it was sent: quoted
    status = status or 403  # of a WebSocket that was not accepted
    measured = {"method": method, "path": path, "status": status, "seconds": round(seconds, 3)}
    level = logging.DEBUG if path in _QUIET and status < 400 else logging.INFO
    log.log(level, "%s %s %d %.3f s", method, path, status, seconds, extra={"measured": measured})
