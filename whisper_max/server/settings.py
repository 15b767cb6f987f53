"""The settings of the server: a frozen value, made from flags and ``WHISPER_MAX_*`` variables, checked as a whole."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whisper_max.errors import OptionError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """How to serve.

    host, port: where to listen; port 0 takes a free one.
    api_keys: any of them opens ``/v1``, ``/metrics`` and the sockets; empty: no key is asked for.
    allow_no_key: listen beyond loopback without an API key.
    allowed_hosts: names that the Host header may have; empty: those of loopback when listening there, else any.
    cors_origins: web origins that may call from a browser, besides the server's own.
    trusted_proxies: addresses whose X-Forwarded headers are believed.

    model: the model that requests get by default. models: others that requests may name, as ``name`` or
        ``id=name-or-path``; each is loaded when it is first asked for.
    device, compute_type, offline: as ``load_model`` has them. model_dir: folder to look for weights in first.
    memory_budget: MiB that the loaded models may take together, by estimate; None: no limit.

    batch_size: windows that one model decodes side by side.
    max_requests: requests that are taken at a time, from the first byte of their upload on; more are answered 429.
    decode_workers: threads that decode recordings and look for speech in them, for short and for long uploads each.
    max_upload: MiB of an upload. max_seconds: seconds of a recording, decoded.
    request_timeout: seconds from the end of the upload to the answer. upload_timeout: seconds of an upload in all.
    idle_timeout: seconds that a client may keep the server waiting for the next bytes, either way.
    grace: seconds that running requests get to finish on SIGTERM.

    Raises:
        OptionError: a value that is impossible, or an address beyond loopback without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    allow_no_key: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    model: str = "base"
    models: tuple[str, ...] = ()
    device: str = "auto"
    compute_type: str = "auto"
    offline: bool = False
    model_dir: str | None = None
    memory_budget: int | None = None
    batch_size: int = 8
    max_requests: int = 64
    decode_workers: int = 2
    max_upload: int = 1024
    max_seconds: float = 4 * 3600.0
    request_timeout: float = 3600.0
    upload_timeout: float = 900.0
    idle_timeout: float = 30.0
    grace: float = 30.0

    def __post_init__(self) -> None:
        _check_range("port", self.port, 0, 65535)
        for name in ("batch_size", "max_requests", "decode_workers", "max_upload"):
            _check_range(name, getattr(self, name), 1, 1 << 20)
        for name in ("max_seconds", "request_timeout", "upload_timeout", "idle_timeout"):
            _check_range(name, getattr(self, name), 0.01, 1e9)
        _check_range("grace", self.grace, 0, 1e9)
        if self.memory_budget is not None:
            _check_range("memory_budget", self.memory_budget, 1, 1 << 30)
        if any(not key or not key.isascii() for key in self.api_keys):
            raise OptionError("an API key that can't be sent", where="api_keys", expected="ASCII, not empty")
        if not (self.is_loopback or self.api_keys or self.allow_no_key):
            raise OptionError(
                "listening beyond this machine needs an API key",
                where="host",
                found=self.host,
                hint="give --api_keys or WHISPER_MAX_API_KEYS; --allow_no_key does without",
            )
        _ = self.sources

    @property
    def is_loopback(self) -> bool:
        """True where only this machine reaches the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """Names that the Host header may have, without ports; None: any."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return LOOPBACK_NAMES if self.is_loopback else None

    @property
    def sources(self) -> dict[str, str]:
        """What ``load_model`` gets for each model's id, the default model first.

        Raises:
            OptionError: two models of the same id, or a path without one.
        """
        sources: dict[str, str] = {}
        for entry in (self.model, *self.models):
            id, equals, source = entry.partition("=")
            source = source if equals else id
            if not equals and (Path(source).is_absolute() or source.startswith((".", "~"))):
                raise OptionError("a path needs an id", where="models", expected="id=path", found=entry)
            if not id or not source or id in sources:
                raise OptionError("models need ids of their own", where="models", found=repr(entry))
            sources[id] = source
        return sources


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise OptionError("out of range", where=name, expected=f"{_shown(lowest)} to {_shown(highest)}", found=value)


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


PREFIX = "WHISPER_MAX_"


def read_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings that ``WHISPER_MAX_*`` variables give, by field name and still text.

    ``WHISPER_MAX_API_KEYS_FILE`` names a file with one key a line, for secrets that are mounted.

    Raises:
        OptionError: the file of keys can't be read.
    """
    environment = os.environ if environment is None else environment
    found = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.__dataclass_fields__
        if PREFIX + name.upper() in environment
    }
    if path := environment.get(f"{PREFIX}API_KEYS_FILE"):
        try:
            lines = Path(path).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError("can't be read", where=f"{PREFIX}API_KEYS_FILE", found=error) from error
        found["api_keys"] = ",".join([*lines, *filter(None, [found.get("api_keys")])])
    return found
