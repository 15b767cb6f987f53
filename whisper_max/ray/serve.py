"""The server as a Ray Serve application: replicas that scale, each with its models.

``serve run whisper_max.ray.serve:app model=base allow_no_key=true``, or ``import_path: whisper_max.ray.serve:app`` with
``args`` in a config file. The arguments are the settings of ``serve``, and those of ``Replicas``. What a proxy in front
of many replicas can't keep is refused by name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from whisper_max.errors import OptionError
from whisper_max.ray.cluster import imported

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from whisper_max.server.settings import Settings

_HINT = 'pip install "whisper-max[ray,server]" "ray[serve]"'
_OF_THE_PROXY = {
    "host": "http_options: host of Ray Serve",
    "port": "http_options: port of Ray Serve",
    "tls_cert": "the load balancer, or ssl_certfile in http_options of Ray Serve",
    "tls_key": "the load balancer, or ssl_keyfile in http_options of Ray Serve",
    "trusted_proxies": "the load balancer",
    "max_connections": "the load balancer",
    "wyoming": "a server of its own: python -m whisper_max serve",
}
"""Settings that are not the application's under Ray Serve, and whose they are."""
_OF_ONE_SERVER = {
    "/v1/realtime/client_secrets": "keys of one session are known to the replica that made them only",
    "/v1/realtime/transcription_sessions": "keys of one session are known to the replica that made them only",
    "/metrics": "each replica counts for itself; Ray Serve exports ray_serve_* metrics of all",
}
"""Addresses that mean one server, and why they are refused where there may be several."""
_MARGIN = 32  # requests beyond max_requests that a replica is sent, and answers 429 itself
_THREADS = 4  # of a replica where no setting says


@dataclass(frozen=True)
class Replicas:
    """How many there are. min_replicas, max_replicas: Ray Serve scales between them. num_gpus: of each."""

    min_replicas: int = 1
    max_replicas: int = 1
    num_gpus: float = 0


class Replica:
    """One server without its own address.

    Args:
        settings: of the server.
        alone: there is never another replica.
    """

    def __init__(self, settings: Settings, alone: bool) -> None:
        from whisper_max.server.app import create_app
        from whisper_max.server.logs import set_up_logging
        from whisper_max.server.run import SWITCH

        set_up_logging(settings.log_level, settings.log_format)
        sys.setswitchinterval(SWITCH)
        self._app = create_app(settings)
        self._app.add_middleware(_BehindProxy, alone=alone)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What Ray Serve sends requests to."""
        return self._app

    def check_health(self) -> None:
        """Ends a replica whose model can't be loaded, with the reason in Ray Serve's status."""
        loading: asyncio.Task[None] | None = getattr(self._app.state, "loading", None)
        if loading is not None and loading.done() and not loading.cancelled():
            loading.result()


def app(args: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Ray Serve's Application
    """The application, as ``serve run`` and config files build it.

    Args:
        args: settings of the server by name, as text or as values, and fields of ``Replicas``. ``WHISPER_MAX_*``
            variables count where they are not given.

    Raises:
        OptionError: a setting that is unknown, impossible, or not the application's under Ray Serve.
    """
    imported()
    try:
        from ray import serve

        from whisper_max.server.settings import read_environment
    except ImportError as error:
        raise OptionError("needs the extras ray and server", where="serve", found=error.name, hint=_HINT) from error
    given = read_environment() | dict(args)
    replicas = Replicas(**_typed(Replicas, {name: given.pop(name) for name in _names(Replicas) if name in given}))
    settings = _settings(given)
    if not 1 <= replicas.min_replicas <= replicas.max_replicas:
        found = f"{replicas.min_replicas} and {replicas.max_replicas}"
        raise OptionError("out of range", where="min_replicas, max_replicas", expected="1 <= min <= max", found=found)
    alone = replicas.max_replicas == 1
    if settings.jobs is not None and not alone:
        hint = "a server of its own: python -m whisper_max serve --jobs"
        raise OptionError("one replica would have the list, and others not", where="jobs, max_replicas", hint=hint)
    scaling = {"min_replicas": replicas.min_replicas, "max_replicas": replicas.max_replicas}
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name="whisper_max",
        max_ongoing_requests=settings.max_requests + _MARGIN,
        graceful_shutdown_timeout_s=settings.grace,
        ray_actor_options={"num_cpus": settings.threads, "num_gpus": replicas.num_gpus},
        **({"num_replicas": 1} if alone else {"autoscaling_config": {**scaling, "target_ongoing_requests": 8}}),
    )
    return deployment.bind(settings, alone)


def _settings(given: dict[str, Any]) -> Settings:
    from whisper_max.server.settings import Settings

    for name in given:
        if name in _OF_THE_PROXY:
            raise OptionError("not the application's under Ray Serve", where=name, hint=f"see {_OF_THE_PROXY[name]}")
    # Whoever reaches the proxy reaches this, so that it takes a key, or word that none is needed.
    values = {"host": "0.0.0.0", "threads": _THREADS, **_typed(Settings, given)}
    return Settings(**values)


def _names(holder: type) -> list[str]:
    return [field.name for field in fields(holder)]


def _typed(holder: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the types that the fields of a dataclass have, of texts and of what YAML makes."""
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(holder)}
    unknown = sorted(set(given) - set(kinds))
    if unknown:
        raise OptionError("unknown setting", where=", ".join(unknown), expected=f"one of {', '.join(kinds)}")
    return {name: _value(name, kinds[name], value) for name, value in given.items()}


def _value(name: str, kind: str, value: Any) -> Any:  # noqa: ANN401 - a setting's own type
    if value is None or value == "None":
        return None
    try:
        if kind.startswith("tuple"):
            names = value.split(",") if isinstance(value, str) else value
            return tuple(str(each).strip() for each in names if str(each).strip())
        if kind == "bool":
            return {"1": True, "true": True, "0": False, "false": False, "": False}[str(value).lower()]
        return {"int": int, "float": float, "str": str}[kind](value)
    except (ValueError, TypeError, KeyError) as error:
        raise OptionError("not a value", where=name, expected=kind, found=repr(value)) from error


class _BehindProxy:
    """Middleware that answers 501, by name, where an answer would be one replica's and mean all, and leaves the header
    with the request's id to Ray Serve, which sends it too.

    Args:
        app: what answers.
        alone: there is never another replica.
    """

    def __init__(self, app: ASGIApp, alone: bool) -> None:
        self._app = app
        self._refused = {} if alone else _OF_ONE_SERVER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from whisper_max.server.errors import APIError

        async def send_without_id(message: Message) -> None:
            if "headers" in message:
                kept = [(name, value) for name, value in message["headers"] if name.lower() != b"x-request-id"]
                message = {**message, "headers": kept}
            await send(message)

        why = self._refused.get(scope["path"]) if scope["type"] == "http" else None
        if why is None:
            await self._app(scope, receive, send_without_id)
            return
        message = f"{scope['path']} is not offered with several replicas: {why}"
        await APIError(501, message, code="not_with_replicas").response()(scope, receive, send)
