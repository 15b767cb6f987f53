"""openai-whisper's ``whisper.utils``, as far as programs use it: writing results to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from whisper_max.errors import OptionError
from whisper_max.output import FORMATS, WriterOptions, format_timestamp, output_paths, write_result
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

__all__ = ["format_timestamp", "get_writer"]

ResultWriter = Callable[..., None]
_ALL = ("txt", "vtt", "srt", "tsv", "json")  # what "all" stands for there
_LAYOUT = WriterOptions.__dataclass_fields__


def get_writer(output_format: str, output_dir: str) -> ResultWriter:
    """A function ``write(result, audio_path, options=None, **kwargs)``, which writes the dict of ``transcribe``.

    Its options are ``highlight_words``, ``max_line_width``, ``max_line_count`` and ``max_words_per_line``, in a dict or
    by name. The folder is made where it is missing, and a file is written whole or not at all.

    Args:
        output_format: "txt", "vtt", "srt", "tsv", "json", "lrc", "csv"; "all" for the first five.
        output_dir: the folder; a file has the recording's name without its extension.

    Raises:
        OptionError: an unknown format; when writing, an unknown or impossible option.
        OutputError: when writing, a file that can't be written.
    """
    formats = _ALL if output_format == "all" else (output_format,)
    if not set(formats) <= set(FORMATS):
        expected = ", ".join((*FORMATS, "all"))
        raise OptionError("unknown format", where="output_format", expected=expected, found=output_format)

    def write(
        result: Mapping[str, Any],
        audio_path: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {**(options or {}), **kwargs}
        unknown = sorted(set(given) - set(_LAYOUT))
        if unknown:
            raise OptionError("unknown option", where=", ".join(unknown), expected=f"some of {', '.join(_LAYOUT)}")
        path = os.fspath(audio_path)
        write_result(_from_dict(result), output_paths([path], output_dir, formats)[path], WriterOptions(**given))

    return write


def _from_dict(result: Mapping[str, Any]) -> TranscriptionResult:
    segments = [
        Segment(**{**each, "words": [Word(**word) for word in each["words"]] if "words" in each else None})
        for each in result["segments"]
    ]
    return TranscriptionResult(result["text"], segments, result["language"])
