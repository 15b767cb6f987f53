"""A transcript as text in each format: pure functions, bytes like those of openai-whisper and whisper.cpp.

txt, vtt, srt and tsv are openai-whisper's, lrc and csv whisper.cpp's. They differ only where a text would break the
format: blank lines and line breaks inside of a row or cue, ``<`` and character references in vtt, and arrows in cues.
json is openai-whisper's result with the effective options beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from whisper_max.errors import OptionError
from whisper_max.output.subtitles import WriterOptions, iterate_cues
from whisper_max.output.timestamps import format_lrc_timestamp, format_timestamp, milliseconds
from whisper_max.transcribe.result import TranscriptionResult

_CHARACTER_REFERENCE = re.compile(r"&(?=#?\w+;)")


def render(result: TranscriptionResult, format: str, options: WriterOptions | None = None) -> str:
    """The transcript in one format.

    Args:
        result: the transcript.
        format: one of ``FORMATS``.
        options: layout of words, for srt and vtt.

    Raises:
        OptionError: an unknown format, or options that need words which the transcript has not.
        OutputError: a time that can't be written.
    """
    if format not in _RENDERERS:
        raise OptionError("unknown output format", expected=f"one of {', '.join(FORMATS)}", found=format)
    return _RENDERERS[format](result, WriterOptions() if options is None else options)


def to_json(value: Mapping[str, Any]) -> str:
    """A value as JSON in one line, with null for numbers that JSON can't hold."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _render_txt(result: TranscriptionResult, _: WriterOptions) -> str:
    return "".join(f"{segment.text.strip()}\n" for segment in result.segments)


def _render_vtt(result: TranscriptionResult, options: WriterOptions) -> str:
    cues = (
        f"{format_timestamp(cue.start)} --> {format_timestamp(cue.end)}\n{cue.text}\n\n"
        for cue in iterate_cues(result.segments, options, _escape_vtt)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _escape_vtt(text: str) -> str:
    """What a reader of vtt would take for a tag or a character reference, spelled so that it is shown."""
    return _CHARACTER_REFERENCE.sub("&amp;", text).replace("<", "&lt;")


def _render_srt(result: TranscriptionResult, options: WriterOptions) -> str:
    return "".join(
        f"{number}\n{_srt_timestamp(cue.start)} --> {_srt_timestamp(cue.end)}\n{cue.text}\n\n"
        for number, cue in enumerate(iterate_cues(result.segments, options), start=1)
    )


def _srt_timestamp(seconds: float) -> str:
    return format_timestamp(seconds, always_include_hours=True, decimal_marker=",")


def _render_tsv(result: TranscriptionResult, _: WriterOptions) -> str:
    rows = ["start\tend\ttext\n"]
    for segment in result.segments:
        text = _one_line(segment.text.strip().replace("\t", " "))
        rows.append(f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{text}\n")
    return "".join(rows)


def _render_lrc(result: TranscriptionResult, _: WriterOptions) -> str:
    lines = (f"[{format_lrc_timestamp(segment.start)}]{_one_line(segment.text)}\n" for segment in result.segments)
    return "[by:whisper_max]\n" + "".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _render_csv(result: TranscriptionResult, _: WriterOptions) -> str:
    rows = ["start,end,text\n"]
    for segment in result.segments:
        text = segment.text.replace('"', '""')  # RFC 4180
        rows.append(f'{milliseconds(segment.start)},{milliseconds(segment.end)},"{text}"\n')
    return "".join(rows)


def _render_json(result: TranscriptionResult, _: WriterOptions) -> str:
    return to_json({**result.to_dict(), "options": result.options})


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value with null for numbers that JSON can't hold."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_RENDERERS: dict[str, Callable[[TranscriptionResult, WriterOptions], str]] = {
    "txt": _render_txt,
    "vtt": _render_vtt,
    "srt": _render_srt,
    "tsv": _render_tsv,
    "json": _render_json,
    "lrc": _render_lrc,
    "csv": _render_csv,
}

FORMATS = tuple(_RENDERERS)
SUBTITLE_FORMATS = ("vtt", "srt")  # the formats that lay out words
