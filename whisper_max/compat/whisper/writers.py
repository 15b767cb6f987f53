"""openai-whisper's writers of results: a class for each format, over those of ``whisper_max.output``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any, TextIO

from whisper_max.errors import OptionError
from whisper_max.files.remote import Place
from whisper_max.output import (
    SUBTITLE_FORMATS,
    WriterOptions,
    format_timestamp,
    output_paths,
    render,
    to_json,
    write_atomically,
)
from whisper_max.output.subtitles import iterate_cues
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

_LAYOUT = ("max_line_width", "max_line_count", "highlight_words", "max_words_per_line")
_Result = Mapping[str, Any]
_Options = Mapping[str, Any] | None


class ResultWriter:
    """Writes a result, the dict of ``transcribe``, to ``output_dir``; a subclass has ``extension``, its format.

    Of a result for text formats ``segments`` count, and of these ``start``, ``end``, ``text`` and ``words``. The
    options are ``highlight_words``, ``max_line_width``, ``max_line_count`` and ``max_words_per_line``, in a dict or by
    name; formats that are no subtitles ignore them, as the peer's do.
    """

    extension: str

    def __init__(self, output_dir: str) -> None:
        self.output_dir = output_dir

    def __call__(
        self, result: _Result, audio_path: str | os.PathLike[str], options: _Options = None, **kwargs: Any
    ) -> None:
        """Write a file with the recording's name and this format's extension, whole or not at all.

        Raises:
            OptionError: an unknown or impossible option.
            OutputError: a file that can't be written.
        """
        text = StringIO(newline="")
        self.write_result(result, file=text, options=options, **kwargs)
        write_atomically(_path(audio_path, self.output_dir, self.extension), text.getvalue())

    def write_result(self, result: _Result, file: TextIO, options: _Options = None, **kwargs: Any) -> None:
        """Write to an open text file.

        Raises:
            OptionError: an unknown or impossible option.
        """
        file.write(_text(result, self.extension, _given(options, kwargs)))


class SubtitlesWriter(ResultWriter):
    """A writer of cues."""

    always_include_hours: bool
    decimal_marker: str

    def iterate_result(
        self,
        result: _Result,
        options: _Options = None,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        highlight_words: bool = False,
        max_words_per_line: int | None = None,
    ) -> Iterator[tuple[str, str, str]]:
        """Start, end and text of each cue; the text as it is, before this format escapes any of it.

        Raises:
            OptionError: an unknown or impossible option.
        """
        named = {
            "max_line_width": max_line_width,
            "max_line_count": max_line_count,
            "highlight_words": highlight_words,
            "max_words_per_line": max_words_per_line,
        }
        layout = _layout(result, _given(options, {name: value for name, value in named.items() if value}))
        for cue in iterate_cues(_spoken(result).segments, layout):
            yield self.format_timestamp(cue.start), self.format_timestamp(cue.end), cue.text

    def format_timestamp(self, seconds: float) -> str:
        """A time as this format has it.

        Raises:
            OutputError: a time that is negative or not finite.
        """
        return format_timestamp(seconds, self.always_include_hours, self.decimal_marker)


class WriteTXT(ResultWriter):
    """The text, a segment a line."""

    extension = "txt"


class WriteVTT(SubtitlesWriter):
    """WebVTT."""

    extension = "vtt"
    always_include_hours = False
    decimal_marker = "."


class WriteSRT(SubtitlesWriter):
    """SubRip."""

    extension = "srt"
    always_include_hours = True
    decimal_marker = ","


class WriteTSV(ResultWriter):
    """Start and end in milliseconds and the text, with tabs between."""

    extension = "tsv"


class WriteJSON(ResultWriter):
    """The result as it is, with null for numbers that JSON has not."""

    extension = "json"


class WriteLRC(ResultWriter):
    """Song lyrics, as whisper.cpp writes them."""

    extension = "lrc"


class WriteCSV(ResultWriter):
    """Start and end in milliseconds and the text, with commas between, as whisper.cpp writes them."""

    extension = "csv"


_ALL: tuple[type[ResultWriter], ...] = (WriteTXT, WriteVTT, WriteSRT, WriteTSV, WriteJSON)  # "all" there
_EVERY: tuple[type[ResultWriter], ...] = (*_ALL, WriteLRC, WriteCSV)
_WRITERS = {writer.extension: writer for writer in _EVERY}


def get_writer(output_format: str, output_dir: str) -> Callable[..., None]:
    """A writer of a format, or of several: ``write(result, audio_path, options=None, **kwargs)``.

    Args:
        output_format: "txt", "vtt", "srt", "tsv", "json", "lrc", "csv"; "all" for the first five.
        output_dir: the folder, which is made where it is missing.

    Raises:
        OptionError: an unknown format; when writing, an unknown or impossible option.
        OutputError: when writing, a file that can't be written.
    """
    if output_format == "all":
        return _writer_of_all(output_dir)
    if output_format not in _WRITERS:
        expected = ", ".join((*_WRITERS, "all"))
        raise OptionError("unknown format", where="output_format", expected=expected, found=output_format)
    return _WRITERS[output_format](output_dir)


def _writer_of_all(output_dir: str) -> Callable[..., None]:
    def write(result: _Result, audio_path: str | os.PathLike[str], options: _Options = None, **kwargs: Any) -> None:
        given = _given(options, kwargs)
        texts = {writer.extension: _text(result, writer.extension, given) for writer in _ALL}
        for extension, text in texts.items():
            write_atomically(_path(audio_path, output_dir, extension), text)

    return write


def _path(audio_path: str | os.PathLike[str], output_dir: str, extension: str) -> Place:
    source = os.fspath(audio_path)
    return output_paths([source], output_dir, (extension,))[source][extension]


def _given(options: _Options, named: Mapping[str, Any]) -> dict[str, Any]:
    """The options, in a dict or by name."""
    given = {**(options or {}), **named}
    unknown = sorted(set(given) - set(_LAYOUT))
    if unknown:
        raise OptionError("unknown option", where=", ".join(unknown), expected=f"some of {', '.join(_LAYOUT)}")
    return given


def _text(result: _Result, extension: str, given: Mapping[str, Any]) -> str:
    if extension == WriteJSON.extension:
        return to_json(result)
    layout = _layout(result, given) if extension in SUBTITLE_FORMATS else None
    return render(_spoken(result), extension, layout)


def _layout(result: _Result, given: Mapping[str, Any]) -> WriterOptions:
    """The options, checked; without words they change nothing, and that is told."""
    layout = WriterOptions(**given)
    if layout.changed() and not any(each.get("words") for each in result["segments"]):
        warnings.warn(f"{layout.changed()[0]} changes nothing without words", stacklevel=5)
        return WriterOptions()
    return layout


def _spoken(result: _Result) -> TranscriptionResult:
    """What text formats hold of a result; the rest of a segment is not looked at."""
    segments = [
        Segment(number, 0, each["start"], each["end"], each["text"], [], 0.0, 0.0, 0.0, 0.0, _words(each.get("words")))
        for number, each in enumerate(result["segments"])
    ]
    return TranscriptionResult("", segments, "")


def _words(words: list[Mapping[str, Any]] | None) -> list[Word] | None:
    if words is None:
        return None
    return [Word(each["word"], each["start"], each["end"], 0.0) for each in words]
