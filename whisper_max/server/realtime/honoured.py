"""What of a client's settings can be had: all else is left out and told, so that the rest holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from whisper_max.server.realtime.settings import (
    DEFAULT_RATE,
    FLAT_FORMATS,
    FLAT_PLACES,
    G711,
    G711_RATE,
    SHORTEST_SILENCE_MS,
    SessionSettings,
)

Warnings = list[dict[str, str]]

_NO_RESPONSES = ("create_response", "interrupt_response", "idle_timeout_ms", "eagerness")
"""Of turn detection: what is about answers, which a transcription has none of, and of another kind of detection."""


def honoured(changes: Mapping[str, Any]) -> tuple[dict[str, Any], Warnings]:
    """The settings of ``session.update``, in either of OpenAI's shapes, that can be had.

    Args:
        changes: what was sent.

    Returns:
        the settings in the newer shape, and for each that was left out its ``param`` and a ``message``.
    """
    found: Warnings = []
    wanted = _plain(from_flat(changes)) if any(name in FLAT_PLACES for name in changes) else _plain(changes)
    heard = wanted.get("audio", {}).get("input") if isinstance(wanted.get("audio"), dict) else None
    if isinstance(heard, dict):
        _replace_what_is_not_done(heard, found)
    if wanted.get("include"):
        wanted["include"] = []
        found.append(_warning("session.include", "log probabilities are not told"))
    return _known(wanted, SessionSettings, "session", found), found


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of everything, which may be changed."""
    return {name: _plain(value) if isinstance(value, Mapping) else value for name, value in changes.items()}


def from_flat(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the older shape where the newer one has them; others stay where they are."""
    heard: dict[str, Any] = {}
    result: dict[str, Any] = {"audio": {"input": heard}}
    for name, value in changes.items():
        if name == "input_audio_format":
            heard["format"] = {"type": FLAT_FORMATS.get(value, value) if isinstance(value, str) else value}
        elif name in FLAT_PLACES:
            heard[FLAT_PLACES[name]] = value
        else:
            result.setdefault(name, value)
    return result


def _replace_what_is_not_done(heard: dict[str, Any], found: Warnings) -> None:
    place = "session.audio.input"
    if heard.get("noise_reduction") is not None:
        heard["noise_reduction"] = None
        found.append(_warning(f"{place}.noise_reduction", "noise reduction is not done"))
    if heard.get("transcription", {}) is None:
        heard["transcription"] = {}
    if isinstance(heard.get("format"), dict):
        _set_rate(heard["format"])
    turns = heard.get("turn_detection")
    if not isinstance(turns, dict):
        return
    if turns.get("type") == "semantic_vad":
        turns["type"] = "server_vad"
        found.append(_warning(f"{place}.turn_detection.type", "turns are detected by server_vad"))
    for name in _NO_RESPONSES:
        turns.pop(name, None)
    silence = turns.get("silence_duration_ms")
    if isinstance(silence, int) and 0 <= silence < SHORTEST_SILENCE_MS:
        turns["silence_duration_ms"] = SHORTEST_SILENCE_MS
        message = f"the shortest silence that ends a turn is {SHORTEST_SILENCE_MS} ms"
        found.append(_warning(f"{place}.turn_detection.silence_duration_ms", message))


def _set_rate(format: dict[str, Any]) -> None:
    """A format that is named has a rate of its own, not that of the one before."""
    if format.get("type") in G711:
        format["rate"] = G711_RATE
    elif "type" in format:
        format.setdefault("rate", DEFAULT_RATE)


def _known(values: dict[str, Any], model: type[BaseModel], place: str, found: Warnings) -> dict[str, Any]:
    """The values without those that a model has no field for."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name not in model.model_fields:
            found.append(_warning(f"{place}.{name}"[:200], "no such setting here"))
            continue
        inner = _inner_model(model.model_fields[name].annotation)
        is_nested = inner is not None and isinstance(value, dict)
        kept[name] = _known(value, inner, f"{place}.{name}", found) if is_nested and inner is not None else value
    return kept


def _inner_model(annotation: object) -> type[BaseModel] | None:
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _warning(param: str, message: str) -> dict[str, str]:
    return {"param": param, "message": message}
