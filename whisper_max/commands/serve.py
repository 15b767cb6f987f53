"""``serve`` on the command line: the settings of the server as flags, over those of the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from whisper_max.commands.flags import Subcommands, folder, optional_int
from whisper_max.errors import OptionError


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _switch(text: str) -> bool:
    values = {"1": True, "true": True, "0": False, "false": False, "": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


_LISTENING = (
    ("host", str, "address to listen on; beyond this machine it takes an API key"),
    ("port", int, "port; 0: a free one"),
    ("api_keys", _names, "keys with commas; better in a file, one a line, that WHISPER_MAX_API_KEYS_FILE names"),
    ("allow_no_key", _switch, "listen beyond this machine without an API key"),
    ("allowed_hosts", _names, "names for the Host header, with commas; unless given: on loopback its own, else any"),
    ("cors_origins", _names, "web origins whose pages may ask, with commas"),
    ("wyoming", str, "tcp://host:port to listen on for Home Assistant"),
    ("tls_cert", str, "file of a certificate chain in PEM: serve HTTPS"),
    ("tls_key", str, "file of its key"),
    ("url_hosts", _names, "hosts that the field url may name, with commas; none unless given"),
    ("trusted_proxies", _names, "addresses whose X-Forwarded headers are believed, with commas"),
)
_MODELS = (
    ("model", str, "the default model: name, hub id, or id=path"),
    ("models", _names, "others that requests may name, with commas; loaded when asked for"),
    ("alias", _names, "other names for models, as name=id, with commas"),
    ("device", str, "auto, cpu, gpu or gpu:N"),
    ("compute_type", str, "auto, float32, int8 (CPU), bfloat16 or float16 (GPU)"),
    ("threads", int, "CPU threads that run the models; 0: every core that may be used"),
    ("offline", _switch, "never ask the hub"),
    ("model_dir", folder, "folder to look for weights in"),
    ("memory_budget", optional_int, "MiB that loaded models may take together, by estimate"),
)
_LIMITS = (
    ("strict_fields", _switch, "refuse fields that are not known; without it they are ignored, and told"),
    ("batch_size", int, "windows that a model decodes side by side"),
    ("max_requests", int, "requests at a time; more are answered 429"),
    ("max_connections", int, "connections at a time; more are answered 429 and closed"),
    ("decode_workers", int, "threads that decode recordings, for short and for long ones each"),
    ("decode_memory", int, "MiB that the decoding of one upload may take"),
    ("decode_timeout", float, "seconds that the decoding of an upload may be without a sample"),
    ("max_upload", int, "MiB of an upload"),
    ("spool_budget", int, "MiB on disk, of uploads and decoded samples together"),
    ("max_seconds", float, "seconds of a recording, decoded"),
    ("request_timeout", float, "seconds from the end of the upload to the answer"),
    ("upload_timeout", float, "seconds of an upload"),
    ("idle_timeout", float, "seconds that a client may keep the server waiting"),
    ("grace", float, "seconds that running requests get on SIGTERM"),
    ("jobs", str, "folder of a list of jobs, /v1/jobs, that lives through restarts; it is made"),
    ("jobs_at_once", int, "jobs that are worked on at a time"),
    ("jobs_max", int, "jobs that wait or are worked on; more are answered 429"),
    ("jobs_budget", int, "MiB on disk, of recordings that wait and of results"),
    ("jobs_age", float, "hours after which a job that has ended is forgotten"),
    ("webhook_origins", _names, "https://host[:port] of servers that may be told of jobs that ended, with commas"),
    ("webhook_secret", str, "what is told is signed with; better as the variable WHISPER_MAX_WEBHOOK_SECRET"),
    ("log_level", str, "debug, info, warning or error: the least that is told"),
    ("log_format", str, "text, or json: an object a line"),
)
_METAVARS: dict[Callable[[str], Any], str] = {_switch: "True|False", int: "N", optional_int: "N", float: "NUMBER"}
_EXPECTED: dict[Callable[[str], Any], str] = {
    **{_switch: "True or False", int: "a whole number", optional_int: "a whole number or None", float: "a number"},
    folder: "a folder that is there",
}
_GROUPS = (("listening", _LISTENING), ("model", _MODELS), ("limits", _LIMITS))


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "serve",
        help="an OpenAI-compatible server",
        description="Serve OpenAI's audio API and a web page. Every flag is also a variable: WHISPER_MAX_PORT for"
        " --port. Ctrl-C or SIGTERM ends it once running requests are answered.",
        epilog="example: python -m whisper_max serve --models tiny.en --port 9000",
    )
    for title, settings in _GROUPS:
        group = parser.add_argument_group(title)
        for name, parse, help in settings:
            switch: dict[str, Any] = {"nargs": "?", "const": "true"} if parse is _switch else {}
            metavar = _METAVARS.get(parse, name.rsplit("_", 1)[-1].upper())
            group.add_argument(f"--{name}", metavar=metavar, help=help + _default(name), **switch)
    parser.set_defaults(run=run)


def _default(name: str) -> str:
    """A setting's default, for the help; the flag itself has none, or it would win over the environment."""
    from whisper_max.server.settings import Settings

    default = Settings.__dataclass_fields__[name].default
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    return "" if default in (None, False, ()) else f" (default: {shown})"


def run(args: argparse.Namespace) -> int:
    """Serve until told to end."""
    try:
        from whisper_max.server.run import serve
        from whisper_max.server.settings import Settings, read_environment
    except ImportError as error:
        raise OptionError(
            "the server is not installed", found=error.name, hint="install the extra: pip install 'whisper-max[server]'"
        ) from error
    given = read_environment()
    parsers: dict[str, Callable[[str], Any]] = {name: parse for _, group in _GROUPS for name, parse, _ in group}
    given |= {name: getattr(args, name) for name in parsers if getattr(args, name) is not None}
    return serve(Settings(**{name: _parse(name, parsers[name], text) for name, text in given.items()}))


def _parse(name: str, parse: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401 - a setting's own type
    try:
        return parse(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise OptionError("not a value", where=name, expected=_EXPECTED[parse], found=repr(text)) from error
