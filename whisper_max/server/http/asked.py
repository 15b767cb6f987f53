"""What a request asks for, from the fields of its form."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_max.output import WriterOptions, check_layout
from whisper_max.server.errors import APIError
from whisper_max.server.http.fields import DIARIZED, FIELDS, GRANULARITIES, read_fields
from whisper_max.server.http.synonyms import SHOWN, translate
from whisper_max.server.references import FIELD, Reference, refused
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.known_text import Passage
from whisper_max.transcribe.options import SEPARATE, TEMPERATURES, TranscribeOptions
from whisper_max.transcribe.speakers import AUTO, is_speaker_name

_CHUNKING = "chunking_strategy"
_VAD = "vad_"
_NAMES = "known_speaker_names"
_MOST_KNOWN = 4  # people, as OpenAI has it
_SMALLEST_STEP = 0.05  # between two temperatures; each is an attempt
_ADD_TO = {"include": "json", "timestamp_granularities": "verbose_json"}
"""Fields that add to an answer and change no text, and the format that has room for what they add."""

_STREAMED = ("json", "text", "verbose_json", DIARIZED)
_SERVER_VAD = {
    "threshold": "vad_threshold",
    "prefix_padding_ms": "vad_speech_pad_ms",
    "silence_duration_ms": "vad_min_silence_duration_ms",
}
"""OpenAI's names of what counts as speech, and ours."""


@dataclass(frozen=True)
class Asked:
    """A request.

    model: the id that was sent. options: of the transcription. format: of the answer. granularities: what has times in
    verbose_json. stream: answer with events; progress: some of them say how far it is. layout: of srt and vtt.
    warnings: of fields that were ignored. vocabulary: of the model, once it is known. references: of people who may
    speak. known: a text that is to be timed, where that is asked for in the place of a transcript.
    """

    model: str
    options: TranscribeOptions
    format: str
    granularities: tuple[str, ...]
    stream: bool
    progress: bool
    layout: WriterOptions
    warnings: Sequence[dict[str, str]] = ()
    vocabulary: Vocabulary | None = None
    references: Sequence[Reference] = ()
    known: Sequence[Passage] = ()


def read_asked(
    sent: dict[str, list[str]], task: str, largest_batch: int, *, strict: bool = False, known: bool = False
) -> Asked:
    """What the fields of a form ask for.

    Args:
        sent: the fields.
        task: "transcribe" or "translate", of the address; a field may ask for a translation, too.
        largest_batch: most windows of the server's batch.
        strict: refuse fields that are not known.
        known: what is said is known, and who says it: nobody is told apart unless that is asked for.

    Raises:
        APIError: 400 for a field that is refused, missing, impossible or contradicts another.
        OptionError: options that are impossible.
    """
    sent = dict(sent)
    chunking = _pop_chunking(sent)
    ours = translate(sent, {name: field.many for name, field in FIELDS.items()}, strict=strict)
    task = _task(task, ours.task)
    values = read_fields(ours.fields)
    if "model" not in values:
        raise APIError(400, "model: missing", code="missing_field", param="model")
    format = values.pop("response_format", "json")
    idle = _pop_idle(values, format, strict=strict)
    logprobs = "logprobs" in values.pop("include", [])
    _set_speech(values, chunking)
    _set_hotwords(values)
    asked = values.pop("timestamp_granularities", None) or ["segment"]
    granularities = tuple(each for each in GRANULARITIES if each in asked)
    stream, progress = values.pop("stream", False), values.pop("progress", False)
    _check_stream(stream, progress, format)
    layout = _layout(values, format)
    for name in ("batch_size", "beam_size", "best_of"):  # all take rows of the server's batch
        if (values.get(name) or 1) > largest_batch:
            raise _impossible(name, f"{name}: expected at most {largest_batch} on this server")
    if "word" in granularities:
        values["word_timestamps"] = True
    if "prompt" in values:
        values["initial_prompt"] = values.pop("prompt")
    values["temperature"] = _temperatures(values.get("temperature"), values.pop("temperature_inc", None))
    references = _references(values.pop("known_speaker_names", []), values.pop("known_speaker_references", []))
    if references or (format == DIARIZED and not known and values.get("channels") != SEPARATE):
        values.setdefault("speakers", AUTO)
    model = values.pop("model")
    options = TranscribeOptions(task=task, token_logprobs=logprobs, **values)
    warnings = (*ours.warnings, *idle)
    return Asked(model, options, format, granularities, stream, progress, layout, warnings, None, references)


def _task(address: str, field: str | None) -> str:
    if address == "translate" and field == "transcribe":
        raise _impossible("task", "task: contradicts the address, which translates")
    return field or address


def _temperatures(first: float | None, step: float | None) -> float | tuple[float, ...]:
    """As OpenAI has it, 0 is greedy decoding with the usual fallback; as whisper.cpp has it, there is a step."""
    if step is None:
        return first or TEMPERATURES
    if step == 0:
        return first or 0.0
    if step < _SMALLEST_STEP:
        raise _impossible("temperature_inc", f"temperature_inc: expected 0, or {_SMALLEST_STEP} to 1")
    start = first or 0.0
    return tuple(round(start + n * step, 6) for n in range(int((1 - start) / step + 1e-6) + 1))


def _impossible(param: str, message: str) -> APIError:
    return APIError(400, message, code="invalid_value", param=param)


def _pop_chunking(sent: dict[str, list[str]]) -> dict[str, str]:
    """The chunking strategy as fields of ours: sent as ``auto``, as JSON, or as ``chunking_strategy[threshold]``..."""
    parts = {name[len(_CHUNKING) + 1 : -1]: name for name in sent if name.startswith(f"{_CHUNKING}[")}
    given: dict[str, Any] = {part: _only(_CHUNKING, sent.pop(name)) for part, name in parts.items()}
    if text := _only(_CHUNKING, sent.pop(_CHUNKING, [""])):
        text = str(FIELDS[_CHUNKING].parse(text))
        given |= {"type": "server_vad"} if text == "auto" else _json_object(text)
    if not given:
        return {}
    if given.pop("type", None) != "server_vad" or not set(given) <= set(_SERVER_VAD):
        expected = f"auto, or type server_vad with {', '.join(_SERVER_VAD)}"
        raise _impossible(_CHUNKING, f"{_CHUNKING}: expected {expected}")
    return {"vad": "true", **{_SERVER_VAD[name]: str(value) for name, value in given.items()}}


def _only(name: str, texts: list[str]) -> str:
    if len(texts) > 1:
        raise APIError(400, f"{name}: sent more than once", code="duplicate_field", param=name)
    return texts[0]


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _impossible(_CHUNKING, f"{_CHUNKING}: expected auto or a JSON object")
    return value


def _set_speech(values: dict[str, Any], chunking: dict[str, str]) -> None:
    """What counts as speech, from our own fields or from the chunking strategy."""
    for name, text in chunking.items():
        if values.get(name, True) is not True:
            raise _impossible(name, f"{name}: contradicts {_CHUNKING}")
        values[name] = FIELDS[name].parse(text)
    given = {name.removeprefix(_VAD): values.pop(name) for name in list(values) if name.startswith(_VAD)}
    if given and not values.get("vad"):
        raise _impossible("vad", f"vad_{next(iter(given))} needs vad")
    if given:
        values["vad_options"] = given


def _set_hotwords(values: dict[str, Any]) -> None:
    keywords = values.pop("keywords", [])
    if keywords and "hotwords" in values:
        raise _impossible("keywords", "keywords and hotwords can't be given together")
    if keywords:
        values["hotwords"] = ", ".join(keywords)


def _references(names: list[str], urls: list[str]) -> tuple[Reference, ...]:
    """People by name, each with a recording that was sent as a data URL."""
    if len(names) != len(urls):
        message = f"{FIELD}: expected one for each of known_speaker_names, {len(names)}, found {len(urls)}"
        raise _impossible(FIELD, message)
    if len(names) > _MOST_KNOWN:
        raise _impossible(_NAMES, f"{_NAMES}: expected at most {_MOST_KNOWN}, found {len(names)}")
    for name in names:
        if not is_speaker_name(name) or names.count(name) > 1:
            raise _impossible(_NAMES, f"{_NAMES}: expected different names of one line each, found {name!r}")
    return tuple(Reference(name, _content(name, url)) for name, url in zip(names, urls, strict=True))


def _content(name: str, url: str) -> bytes:
    head, comma, encoded = url.partition(",")
    try:
        if not comma or not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
            raise ValueError
        return b64decode(encoded, validate=True)
    except ValueError:
        expected = f"data:audio/...;base64,..., found {url[:SHOWN]!r}"
        raise refused(f"the recording of {name!r}: expected {expected}") from None


def _pop_idle(values: dict[str, Any], format: str, *, strict: bool) -> list[dict[str, str]]:
    """Take out the fields that the answer's format has no room for, which programs send whatever the format.

    Returns:
        the warnings that say so.

    Raises:
        APIError: 400 for such a field, where fields are to be taken strictly.
    """
    warnings = []
    for name, needed in _ADD_TO.items():
        if not values.get(name) or format == needed:
            continue
        if strict:
            raise _impossible(name, f"{name}: needs response_format {needed}")
        del values[name]
        message = f"the field {name!r} needs response_format {needed}, and was ignored"
        warnings.append({"kind": "ignored_field", "message": message})
    return warnings


def _check_stream(stream: bool, progress: bool, format: str) -> None:
    if stream and format not in _STREAMED:
        raise _impossible("response_format", f"stream needs response_format {', '.join(_STREAMED)}")
    if progress and not stream:
        raise _impossible("progress", "progress needs stream")


def _layout(values: dict[str, Any], format: str) -> WriterOptions:
    layout = WriterOptions(**{name: values.pop(name) for name in WriterOptions.__dataclass_fields__ if name in values})
    check_layout(layout, (format,))
    if layout.subtitle_style is not None:
        values["word_timestamps"] = True
    if layout.changed() and not values.get("word_timestamps"):
        raise _impossible("word_timestamps", f"{layout.changed()[0]} needs word_timestamps")
    return layout
