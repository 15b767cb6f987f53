"""Writers of transcripts."""

from whisper_max.output.files import (
    check_layout,
    check_writable,
    numbered_inputs,
    output_paths,
    write_atomically,
    write_result,
)
from whisper_max.output.formats import FORMATS, SUBTITLE_FORMATS, finite, render, to_json
from whisper_max.output.subtitles import WriterOptions
from whisper_max.output.timestamps import format_timestamp

__all__ = [
    "FORMATS",
    "SUBTITLE_FORMATS",
    "WriterOptions",
    "check_layout",
    "check_writable",
    "finite",
    "format_timestamp",
    "numbered_inputs",
    "output_paths",
    "render",
    "to_json",
    "write_atomically",
    "write_result",
]
