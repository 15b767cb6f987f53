"""openai-whisper's ``whisper.utils``: writing results to files, and the small functions beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from whisper_max.compat.segments import end_of
from whisper_max.compat.whisper.divide import exact_div
from whisper_max.compat.whisper.writers import (
    ResultWriter,
    SubtitlesWriter,
    WriteJSON,
    WriteSRT,
    WriteTSV,
    WriteTXT,
    WriteVTT,
    get_writer,
)
from whisper_max.decode.decoded import compression_ratio
from whisper_max.errors import OptionError
from whisper_max.output import format_timestamp

__all__ = [
    "ResultWriter",
    "SubtitlesWriter",
    "WriteJSON",
    "WriteSRT",
    "WriteTSV",
    "WriteTXT",
    "WriteVTT",
    "compression_ratio",
    "exact_div",
    "format_timestamp",
    "get_end",
    "get_start",
    "get_writer",
    "make_safe",
    "optional_float",
    "optional_int",
    "str2bool",
    "system_encoding",
]

system_encoding = sys.getdefaultencoding()
get_end = end_of


def get_start(segments: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds at which the first word begins, or the first segment where there are no words; None of nothing."""
    words = (word for segment in segments for word in segment.get("words") or ())
    first = next(words, segments[0] if segments else None)
    return None if first is None else first["start"]


def make_safe(string: str) -> str:
    """The text as it is: Python's own encoding is UTF-8, which has every character."""
    return string


def str2bool(string: str) -> bool:
    """``True`` or ``False``, for argparse.

    Raises:
        OptionError: anything else.
    """
    values = {"True": True, "False": False}
    if string not in values:
        raise OptionError("not a truth value", expected="True or False", found=repr(string))
    return values[string]


def optional_int(string: str) -> int | None:
    """A whole number or ``None``, for argparse; raises ValueError for anything else."""
    return None if string == "None" else int(string)


def optional_float(string: str) -> float | None:
    """A number or ``None``, for argparse; raises ValueError for anything else."""
    return None if string == "None" else float(string)
