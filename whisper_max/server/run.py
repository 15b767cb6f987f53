"""Running the server: uvicorn, with clients that dawdle cut off and a drain on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import ssl
import sys
import time
from contextvars import Context
from http import HTTPStatus
from types import FrameType
from typing import Any

import h11
from fastapi import FastAPI
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.server.app import create_app
from whisper_max.server.errors import APIError, busy
from whisper_max.server.logs import set_up_logging
from whisper_max.server.settings import Settings
from whisper_max.server.state import Shared

log = logging.getLogger(__name__)

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
SWITCH = 0.0005
"""Seconds after which a thread gives Python to one that waits, the engine's above all: a step takes 2 ms, and Python's
default of 5 ms would make one of 10 ms of it while a long recording is opened."""
_LAST_WORDS = 5  # seconds for answers to leave once their work was ended
_HEADER_BYTES = 64 << 10  # of one request's headers


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain; returns the exit status."""
    set_up_logging(settings.log_level, settings.log_format)
    _check_certificate(settings)
    sys.setswitchinterval(SWITCH)
    server = DrainingServer(settings, create_app(settings))
    try:
        server.run()
    except SystemExit:  # of uvicorn, which has logged that it can't listen there
        return EXIT_FAILED
    if server.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if server.failed else EXIT_OK


def _check_certificate(settings: Settings) -> None:
    if settings.tls_cert is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise OptionError("no certificate with its key", where="tls_cert", found=error.strerror or error) from error


class DrainingServer(Server):
    """A server that, told to end, takes no more requests and finishes those that it has.

    The first signal begins the drain: ``/ready`` answers 503, and so do new transcriptions, while running ones go on
    for the grace period at most. The second signal ends it at once, and if it is Ctrl-C without answers.

    Args:
        settings: of the server.
        app: its app.

    Attributes:
        failed: the default model could not be loaded.
        interrupted: by a second signal that was Ctrl-C.
    """

    def __init__(self, settings: Settings, app: FastAPI) -> None:
        super().__init__(
            Config(
                app,
                host=settings.host,
                port=settings.port,
                http=_protocol(settings.idle_timeout, settings.max_connections),
                h11_max_incomplete_event_size=_HEADER_BYTES,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
                server_header=False,
                access_log=False,
                timeout_graceful_shutdown=_LAST_WORDS,
                ws=_Socket,
                ws_max_size=1 << 20,
                log_config=None,
            )
        )
        self._app = app
        self._shared: Shared = app.state.shared
        self._grace = settings.grace
        self._end: float | None = None  # of the grace period, on the monotonic clock
        self.failed = False
        self.interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; the second time, end."""
        if self._end is not None:
            self.should_exit = True
            if sig == signal.SIGINT and not self.interrupted:
                self.interrupted = self.force_exit = True
                Context().run(log.info, "interrupted: what runs is cut off")  # not by the request that it came upon
                logging.getLogger("uvicorn.error").disabled = True  # of stack traces, one for each request
            return
        self._end = time.monotonic() + self._grace

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is it over?"""
        admission = self._shared.admission
        if self._end is not None:
            if not admission.stopping.is_set():
                log.info("draining: %d requests are running", admission.n_requests)
                admission.stop()
            if time.monotonic() >= self._end or not admission.n_requests:
                await self._shared.engines.close()
                self.should_exit = True
        loading: asyncio.Task[None] = self._app.state.loading
        if loading.done() and not loading.cancelled() and (error := loading.exception()) is not None:
            shown = str(error) if isinstance(error, WhisperMaxError) else repr(error)
            log.error("the model can't be loaded: %s", shown)
            self.failed = self.should_exit = True
        return await super().on_tick(counter)


class _Socket(WebSocketsSansIOProtocol):
    """A WebSocket that is left alone at the server's end if its client has just closed it.

    uvicorn (0.54) would close it once more, which raises: the server would end without having drained.
    """

    def shutdown(self) -> None:
        """Close it, unless it is closing."""
        if not self.transport.is_closing():
            super().shutdown()


def _protocol(seconds: float, max_connections: int) -> type[H11Protocol]:
    """HTTP/1.1 on so many connections at most.

    On each, the headers of a request must have come, whole, within so many seconds of the connection's start or of the
    answer before; what is left of a body that was answered without being read counts as nothing.
    """

    class BoundedProtocol(H11Protocol):
        _cut: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - of asyncio
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                transport.write(_TOO_MANY)
                transport.close()
            else:
                self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def send_400_response(self, msg: str) -> None:
            """Say that what came is no HTTP, where no answer has begun; what was about to answer says no more."""
            if self.cycle is not None:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                super().send_400_response(msg)
            else:
                self.transport.close()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_watch()

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_watch()
            elif self._cut is None:
                self._cut = self.loop.call_later(seconds, self._cut_off)

        def _stop_watch(self) -> None:
            if self._cut is not None:
                self._cut.cancel()
                self._cut = None

        def _cut_off(self) -> None:
            if not self.transport.is_closing() and self.transport.get_protocol() is self:  # else it is a WebSocket
                self.transport.close()

    return BoundedProtocol


def _raw(error: APIError) -> bytes:
    """The whole answer, for where there is no request yet."""
    body = json.dumps(error.body()).encode()
    headers = {**error.headers, "Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


_TOO_MANY = _raw(busy("too many connections are open", 1))
