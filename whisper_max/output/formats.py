"""A transcript as text in each format: pure functions, bytes like those of openai-whisper and whisper.cpp.

txt, vtt, srt and tsv are openai-whisper's, lrc and csv whisper.cpp's. They differ only where a text would break the
format: blank lines and line breaks inside of a row or cue, ``<`` and character references in vtt, and arrows in cues;
and no cue is without text or length.
json is openai-whisper's result with the effective options beside it.
Where speakers are told apart, each of them says who speaks: txt, srt, lrc and ass before the text, vtt in a voice tag,
csv (as whisper.cpp) and tsv in a column; a transcript without speakers has none of that.
Tags of a known text (italics, bold, underlined) are vtt's and ass's own there; all else has them as they are written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from whisper_max.errors import OptionError
from whisper_max.output.ass import FONT_OR_PLACE, escape_ass, render_ass, tag_of_ass
from whisper_max.output.speakers import label, one_line
from whisper_max.output.subtitles import Cue, WriterOptions, cue_text, iterate_cues
from whisper_max.output.timestamps import format_lrc_timestamp, format_timestamp, milliseconds
from whisper_max.transcribe.known_text import TAG
from whisper_max.transcribe.result import TranscriptionResult

_VTT_TAG = re.compile(r"</?[ibu]>")
_CHARACTER_REFERENCE = re.compile(r"&(?=#?\w+;)")


def render(result: TranscriptionResult, format: str, options: WriterOptions | None = None) -> str:
    """The transcript in one format.

    Args:
        result: the transcript.
        format: one of ``FORMATS``.
        options: layout of words, for srt, vtt and ass.

    Raises:
        OptionError: an unknown format, or options that need words which the transcript has not.
        OutputError: a time that can't be written.
    """
    if format not in _RENDERERS:
        raise OptionError("unknown output format", expected=f"one of {', '.join(FORMATS)}", found=format)
    return _RENDERERS[format](result, WriterOptions() if options is None else options)


def to_json(value: Mapping[str, Any]) -> str:
    """A value as JSON in one line, with null for numbers that JSON can't hold."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def _render_txt(result: TranscriptionResult, _: WriterOptions) -> str:
    return "".join(f"{label(segment.speaker)}{segment.text.strip()}\n" for segment in result.segments)


def _cues(result: TranscriptionResult, options: WriterOptions, escape: Callable[[str], str] = str) -> list[Cue]:
    duration = result.duration or math.inf  # of a dict of openai-whisper's it is not known
    return iterate_cues(result.segments, options, escape, language=result.language, duration=duration)


def _render_vtt(result: TranscriptionResult, options: WriterOptions) -> str:
    cues = (
        f"{format_timestamp(cue.start)} --> {format_timestamp(cue.end)}\n"
        f"{_voice(cue.speaker)}{_sung(cue) if options.karaoke else cue.text}\n\n"
        for cue in _cues(result, options, _safe(result, _escape_vtt, _tag_of_vtt))
    )
    return "WEBVTT\n\n" + "".join(cues)


def _safe(
    result: TranscriptionResult, escape: Callable[[str], str], tag_of: Callable[[str], str]
) -> Callable[[str], str]:
    """What makes a text safe for a format: with ``tag_of`` for each tag where tags are meant, all else escaped."""
    if not result.marked_up:
        return escape

    def safe(text: str) -> str:
        pieces, start = "", 0
        for tag in TAG.finditer(text):
            pieces += escape(text[start : tag.start()]) + tag_of(tag[0])
            start = tag.end()
        return pieces + escape(text[start:])

    return safe


def _tag_of_vtt(tag: str) -> str:
    """The same in vtt, which has no fonts and no places within a text; what it does not know is shown."""
    if _VTT_TAG.fullmatch(tag.lower()):
        return tag.lower()
    return "" if FONT_OR_PLACE.match(tag) else _escape_vtt(tag)


def _sung(cue: Cue) -> str:
    """The words, each but the first after the time at which it is spoken, where that is within the cue."""
    text = ""
    now = cue.start
    for word in cue.words:
        if milliseconds(now) < milliseconds(word.start) < milliseconds(cue.end):
            now = word.start
            text += f"<{format_timestamp(now, always_include_hours=True)}>"
        text += word.word
    return cue_text(text)


def _voice(speaker: str | None) -> str:
    """The tag of a voice (WebVTT, 4.2.2), which lasts to the end of its cue; nothing where there is no speaker."""
    if speaker is None:
        return ""
    name = one_line(speaker).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<v {name}>"


def _escape_vtt(text: str) -> str:
    """What a reader of vtt would take for a tag or a character reference, spelled so that it is shown."""
    return _CHARACTER_REFERENCE.sub("&amp;", text).replace("<", "&lt;")


def _render_srt(result: TranscriptionResult, options: WriterOptions) -> str:
    return "".join(
        f"{number}\n{_srt_timestamp(cue.start)} --> {_srt_timestamp(cue.end)}\n"
        f"{cue_text(label(cue.speaker))}{cue.text}\n\n"
        for number, cue in enumerate(_cues(result, options), start=1)
    )


def _srt_timestamp(seconds: float) -> str:
    return format_timestamp(seconds, always_include_hours=True, decimal_marker=",")


def _render_tsv(result: TranscriptionResult, _: WriterOptions) -> str:
    told_apart = _told_apart(result)
    rows = ["start\tend\tspeaker\ttext\n" if told_apart else "start\tend\ttext\n"]
    for segment in result.segments:
        who = f"{one_line(segment.speaker or '')}\t" if told_apart else ""
        text = _one_line(segment.text.strip().replace("\t", " "))
        rows.append(f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{who}{text}\n")
    return "".join(rows)


def _told_apart(result: TranscriptionResult) -> bool:
    """True where it is known of something who says it."""
    return any(segment.speaker is not None for segment in result.segments)


def _render_lrc(result: TranscriptionResult, _: WriterOptions) -> str:
    spoken = (segment for segment in result.segments if segment.text.strip())
    lines = (
        f"[{format_lrc_timestamp(segment.start)}]{_labelled(_one_line(segment.text), segment.speaker)}\n"
        for segment in spoken
    )
    return "[by:whisper_max]\n" + "".join(lines)


def _labelled(text: str, speaker: str | None) -> str:
    """A line as it is, or without the space at its start after the name of who says it."""
    return text if speaker is None else label(speaker) + text.strip()


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _render_csv(result: TranscriptionResult, _: WriterOptions) -> str:
    told_apart = _told_apart(result)
    rows = ["start,end,speaker,text\n" if told_apart else "start,end,text\n"]
    for segment in result.segments:
        who = f"{_quoted(one_line(segment.speaker or ''))}," if told_apart else ""
        rows.append(f"{milliseconds(segment.start)},{milliseconds(segment.end)},{who}{_quoted(segment.text)}\n")
    return "".join(rows)


def _quoted(text: str) -> str:
    """A text as RFC 4180 has it."""
    return '"' + text.replace('"', '""') + '"'


def _render_ass(result: TranscriptionResult, options: WriterOptions) -> str:
    cues = _cues(result, options, _safe(result, escape_ass, tag_of_ass))
    return render_ass(cues, karaoke=options.karaoke)


def _render_json(result: TranscriptionResult, _: WriterOptions) -> str:
    warnings = {"warnings": [asdict(warning) for warning in result.warnings]} if result.warnings else {}
    return to_json({**result.to_dict(), "options": result.options, **warnings})


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value with null for numbers that JSON can't hold."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_RENDERERS: dict[str, Callable[[TranscriptionResult, WriterOptions], str]] = {
    "txt": _render_txt,
    "vtt": _render_vtt,
    "srt": _render_srt,
    "tsv": _render_tsv,
    "json": _render_json,
    "lrc": _render_lrc,
    "csv": _render_csv,
    "ass": _render_ass,
}

FORMATS = tuple(_RENDERERS)
SUBTITLE_FORMATS = ("vtt", "srt", "ass")  # the formats that lay out words
