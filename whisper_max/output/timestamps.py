"""Times in transcripts."""

from __future__ import annotations

import math

from whisper_max.errors import OutputError


def milliseconds(seconds: float) -> int:
    """Seconds to the nearest millisecond, ties to even as Python rounds.

    Raises:
        OutputError: a time that is negative or not finite, which no format can hold.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise OutputError("a time that can't be written", expected="seconds, 0 or more", found=seconds)
    return round(seconds * 1000.0)


def format_timestamp(seconds: float, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """``MM:SS.mmm``, with ``HH:`` before it from one hour on or when asked for; hours grow past 99 as needed.

    Raises:
        OutputError: a time that is negative or not finite.
    """
    rest, ms = divmod(milliseconds(seconds), 1000)
    rest, s = divmod(rest, 60)
    h, m = divmod(rest, 60)
    hours = f"{h:02d}:" if always_include_hours or h > 0 else ""
    return f"{hours}{m:02d}:{s:02d}{decimal_marker}{ms:03d}"


def format_lrc_timestamp(seconds: float) -> str:
    """``MM:SS.cc`` as song lyrics have it: hundredths of a second cut off, minutes past 99 as needed.

    Raises:
        OutputError: a time that is negative or not finite.
    """
    rest, ms = divmod(milliseconds(seconds), 1000)
    m, s = divmod(rest, 60)
    return f"{m:02d}:{s:02d}.{ms // 10:02d}"
