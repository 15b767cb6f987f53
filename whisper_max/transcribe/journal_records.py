"""The records of a journal as values: every field there, none else, and each of its type."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from math import isfinite
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from whisper_max.audio.mel import N_FRAMES
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.window import Cut

Value = TypeVar("Value")


def value_from_json(kind: type[Value], value: object) -> Value:
    """A dataclass from the JSON object that ``dataclasses.asdict`` made of it.

    Kinds: dataclasses, ``X | None``, tuples and lists of one kind, dictionaries by text, and plain values.

    Raises:
        ValueError: a field is missing, unknown or of another type; the message names it.
    """
    return cast(Value, _checked(kind, value, kind.__name__))


def _checked(kind: Any, value: object, name: str) -> object:  # noqa: ANN401 - a type or a form of typing
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _checked(parts[0], value, name)
    if is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value, name)
    if origin in (list, tuple) and isinstance(value, list):
        return origin(_checked(parts[0], item, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _checked(parts[1], item, name) for key, item in value.items()}
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    if type(value) is not kind or (isinstance(value, str) and not _is_unicode(value)):
        raise ValueError(f"{name} is {repr(value)[:40]}")
    return value


def _dataclass(kind: Any, record: dict[str, object], name: str) -> object:  # noqa: ANN401 - a dataclass
    hints: dict[str, Any] = _hints(kind)
    if record.keys() != hints.keys():
        raise ValueError(f"{name} has other fields")
    return kind(**{field: _checked(hints[field], value, f"{name}.{field}") for field, value in record.items()})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The fields' types by name; they are text in the source, and reading them takes longer than a record."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _is_unicode(text: str) -> bool:
    """False for what JSON can escape and no file can hold: half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def is_possible(cut: Cut, n_frames: int, tokenizer: Tokenizer) -> bool:
    """Whether what a journal holds of a window has tokens, times, scores and languages that there are.

    n_frames: mel frames of the recording.
    """
    words = [word for segment in cut.segments for word in segment.words or ()]
    numbers = [number for value in (*cut.segments, *words) for number in vars(value).values() if type(number) is float]
    tokens = [token for segment in cut.segments for token in segment.tokens]
    languages = {segment.language for segment in cut.segments} - {None}
    return (
        0 <= cut.seek <= n_frames + N_FRAMES
        and all(map(isfinite, (*numbers, cut.result.temperature)))
        and all(0 <= token < tokenizer.n_vocab for token in (*tokens, *cut.result.tokens))
        and languages <= set(tokenizer.all_language_codes)
    )
