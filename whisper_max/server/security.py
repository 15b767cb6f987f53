"""Who may ask what: API keys, the names this server goes by, and pages of other sites."""

from __future__ import annotations

import hmac

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_max.server.errors import APIError
from whisper_max.server.realtime.tickets import Tickets
from whisper_max.server.settings import Settings

_GUARDED = ("/v1/", "/metrics", "/openapi.json", "/docs", "/inference", "/asr", "/detect-language")
_SOCKET_KEY = "openai-insecure-api-key."
"""OpenAI's name for a WebSocket's subprotocol with an API key in it, since a browser can't send headers."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Security:
    """Middleware that asks for API keys and refuses other sites' pages and names, HTTP and WebSockets alike.

    Args:
        app: what it guards.
        settings: keys, hosts and origins.
        tickets: keys of one session each.
    """

    def __init__(self, app: ASGIApp, settings: Settings, tickets: Tickets) -> None:
        self._app = app
        self._keys = tuple(key.encode() for key in settings.api_keys)
        self._tickets = tickets
        self._hosts = settings.hosts
        self._origins = settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not pass."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await refusal.response()(scope, receive, send)
        else:  # uvicorn answers 403 to a WebSocket that is closed before it is accepted
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.message})

    def _refusal(self, scope: Scope, headers: Headers) -> APIError | None:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return APIError(421, "this server does not go by that name", code="wrong_host")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != host:
            return APIError(403, "pages of other sites may not ask this server", code="wrong_origin")
        if self._keys and scope["path"].startswith(_GUARDED) and not self._may_enter(scope, headers):
            return APIError(
                401,
                "no valid API key: expected it as a Bearer token",
                type="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _may_enter(self, scope: Scope, headers: Headers) -> bool:
        given = given_key(headers)
        found = [hmac.compare_digest(given.encode("utf-8", "replace"), key) for key in self._keys]  # all of them
        if scope["type"] == "websocket":  # a ticket opens a session, and nothing else
            found.append(self._tickets.find(given) is not None)
        return any(found)


def given_key(headers: Headers) -> str:
    """The key that a request brings, as a Bearer token or in the name of a subprotocol; empty where it has none."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    given = key.strip() if kind.lower() == "bearer" else ""
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_SOCKET_KEY):
            given = protocol.strip().removeprefix(_SOCKET_KEY)
    return given


def _name(host: str) -> str:
    """The Host header without its port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def add_security(app: FastAPI, settings: Settings, tickets: Tickets) -> None:
    """Guard the app; a browser's pages of other sites get answers only from the origins in the settings."""
    app.add_middleware(Security, settings=settings, tickets=tickets)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id"],
        )
