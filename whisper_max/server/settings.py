"""The settings of the server: a frozen value, made from flags and ``WHISPER_MAX_*`` variables, checked as a whole."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from whisper_max.errors import OptionError
from whisper_max.server.desk.webhooks import key_of, origin_of

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_NO_KEYS = "Wyoming has no keys; --allow_no_key says that none is needed"
LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
MIB = 1 << 20
_COUNTS = (
    *("batch_size", "max_requests", "max_connections", "decode_workers"),
    *("decode_memory", "max_upload", "spool_budget", "jobs_at_once", "jobs_max", "jobs_budget"),
)
_SECONDS = ("decode_timeout", "max_seconds", "request_timeout", "upload_timeout", "idle_timeout")
_SLOWEST_DECODING = 20  # seconds of audio in one of a processor; a slow one does hundreds


@dataclass(frozen=True)
class Settings:
    """How to serve.

    host, port: where to listen; port 0 takes a free one.
    api_keys: any of them opens ``/v1``, ``/metrics`` and the sockets; empty: no key is asked for.
    allow_no_key: listen beyond loopback without an API key.
    allowed_hosts: names that the Host header may have; empty: those of loopback when listening there, else any.
    cors_origins: web origins that may call from a browser, besides the server's own.
    wyoming: where to listen for Wyoming's clients, ``tcp://host:port``; they send no keys.
    tls_cert, tls_key: files of a certificate chain and its key, in PEM: HTTPS and secure WebSockets.
    url_hosts: hosts of the web that recordings may be fetched from for a request that sends a URL; empty: none.
    trusted_proxies: addresses whose X-Forwarded headers are believed.

    model: the model that requests get by default. models: others that requests may name, as ``name`` or
        ``id=name-or-path``; each is loaded when it is first asked for.
    alias: other names that requests may have for a model, as ``name=id``.
    device, compute_type, offline: as ``load_model`` has them. threads: on a CPU; 0 for every usable
        core. model_dir: folder to look for weights in first.
    memory_budget: MiB that the loaded models may take together, by estimate; None: no limit.

    strict_fields: refuse fields of a form that are not known, which are ignored otherwise, and told.
    batch_size: windows that one model decodes side by side.
    max_requests: requests that are taken at a time, from the first byte of their upload on; more are answered 429.
    max_connections: connections at a time, idle ones and sockets included; more are answered 429 and closed.
    decode_workers: threads that decode recordings and look for speech in them, for short and for long uploads each.
    decode_memory: MiB that the decoding of one upload may take. decode_timeout: seconds in it without a sample.
    max_upload: MiB of an upload. max_seconds: seconds of a recording, decoded.
    spool_budget: MiB on disk, uploads and decoded samples of all requests together.
    request_timeout: seconds from the end of the upload to the answer. upload_timeout: seconds of an upload in all.
    idle_timeout: seconds that a client may keep the server waiting for the next bytes, either way.
    jobs: folder of a list of jobs that outlive their requests; None: there is none. jobs_at_once: how many are worked
        on at a time. jobs_max: most that wait or are worked on. jobs_budget: MiB on disk, of recordings and
        results. jobs_age: hours after which a job that has ended is forgotten.
    webhook_origins: ``https://host[:port]`` of servers that may be told of jobs that ended; nobody else is told
        anything. webhook_secret: what is told is signed with.
    log_level: the least that is told. log_format: how, ``text`` or ``json``.
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
    wyoming: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    url_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    model: str = "base"
    models: tuple[str, ...] = ()
    alias: tuple[str, ...] = ()
    device: str = "auto"
    compute_type: str = "auto"
    threads: int = 0
    offline: bool = False
    model_dir: str | None = None
    memory_budget: int | None = None
    strict_fields: bool = False
    batch_size: int = 8
    max_requests: int = 64
    max_connections: int = 512
    decode_workers: int = 2
    decode_memory: int = 1024
    decode_timeout: float = 60.0
    max_upload: int = 1024
    spool_budget: int = 8192
    max_seconds: float = 4 * 3600.0
    request_timeout: float = 3600.0
    upload_timeout: float = 900.0
    idle_timeout: float = 30.0
    grace: float = 30.0
    jobs: str | None = None
    jobs_at_once: int = 4
    jobs_max: int = 1000
    jobs_budget: int = 8192
    jobs_age: float = 168.0
    webhook_origins: tuple[str, ...] = ()
    webhook_secret: str | None = field(default=None, repr=False)
    log_level: str = "info"
    log_format: str = "text"

    def __post_init__(self) -> None:
        _check_range("port", self.port, 0, 65535)
        for name in _COUNTS:
            _check_range(name, getattr(self, name), 1, 1 << 20)
        for name in _SECONDS:
            _check_range(name, getattr(self, name), 0.01, 1e9)
        _check_range("grace", self.grace, 0, 1e9)
        _check_range("jobs_age", self.jobs_age, 0.0001, 1e6)
        _check_range("threads", self.threads, 0, 1 << 10)
        if self.memory_budget is not None:
            _check_range("memory_budget", self.memory_budget, 1, 1 << 30)
        for name, choices in (("log_level", LEVELS), ("log_format", LOG_FORMATS)):
            if getattr(self, name) not in choices:
                raise OptionError("no such value", where=name, expected=", ".join(choices), found=getattr(self, name))
        if any(not key or not key.isascii() for key in self.api_keys):
            raise OptionError("an API key that can't be sent", where="api_keys", expected="ASCII, not empty")
        if not (self.is_loopback or self.api_keys or self.allow_no_key):
            raise OptionError(
                "listening beyond this machine needs an API key",
                where="host",
                found=self.host,
                hint="give --api_keys or WHISPER_MAX_API_KEYS; --allow_no_key does without",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise OptionError("tls_cert and tls_key are given together", where="tls_cert")
        if self.wyoming_address is not None and not (_is_loopback(self.wyoming_address[0]) or self.allow_no_key):
            raise OptionError(
                "listening beyond this machine without a key", where="wyoming", found=self.wyoming, hint=_NO_KEYS
            )
        _ = self.alias_ids
        self._check_webhooks()

    def _check_webhooks(self) -> None:
        if not self.webhook_origins:
            return
        if self.jobs is None:
            raise OptionError(
                "webhooks are told of jobs, of which there are none", where="webhook_origins", hint="give --jobs"
            )
        if self.webhook_secret is None:
            raise OptionError(
                "webhooks are signed",
                where="webhook_origins",
                hint="give WHISPER_MAX_WEBHOOK_SECRET, whsec_ and base64",
            )
        key_of(self.webhook_secret)
        for origin in self.webhook_origins:
            try:
                origin_of(origin)
                bare = urlsplit(origin)._replace(scheme="", netloc="").geturl() in ("", "/")
            except ValueError:
                bare = False
            if not bare:
                raise OptionError(
                    "no origin", where="webhook_origins", expected="https://host[:port]", found=repr(origin)
                )

    @property
    def is_loopback(self) -> bool:
        """True where only this machine reaches the server."""
        return _is_loopback(self.host)

    @property
    def wyoming_address(self) -> tuple[str, int] | None:
        """Host and port of ``wyoming``.

        Raises:
            OptionError: it has none.
        """
        if self.wyoming is None:
            return None
        try:
            parts = urlsplit(self.wyoming)
            if parts.scheme == "tcp" and parts.hostname and parts.port is not None:
                return parts.hostname, parts.port
        except ValueError:  # a port that is none
            pass
        raise OptionError("no address", where="wyoming", expected="tcp://host:port", found=repr(self.wyoming))

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """Names that the Host header may have, without ports; None: any."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return LOOPBACK_NAMES if self.is_loopback else None

    @property
    def decode_processor_seconds(self) -> int:
        """What the decoding of one upload may take of a processor, where the longest is decoded at its slowest."""
        return math.ceil(self.decode_timeout + self.max_seconds / _SLOWEST_DECODING)

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

    @property
    def default_id(self) -> str:
        return next(iter(self.sources))

    @property
    def alias_ids(self) -> dict[str, str]:
        """The id that each of ``alias`` means.

        Raises:
            OptionError: not ``name=id``, a name that is taken, or an id that is not there.
        """
        sources = self.sources
        aliases: dict[str, str] = {}
        for entry in self.alias:
            name, _, id = entry.partition("=")
            if not name or id not in sources or name in sources or name in aliases:
                expected = f"name=id, with an id of {', '.join(sources)} and a name of its own"
                raise OptionError("no alias", where="alias", expected=expected, found=repr(entry))
            aliases[name] = id
        return aliases


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
