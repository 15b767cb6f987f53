"""The frames of AMR files, narrow and wide: RFC 4867, 5.3; sizes of 3GPP TS 26.101 and 26.201.

A header is one byte, which many bytes look like, so that several in a row have to be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from whisper_max.audio.formats.frame_walk import Frame, Kind, Syntax

_NARROW = (13, 14, 16, 18, 20, 21, 27, 32, 6)  # bytes of a frame by its type; the last one describes silence
_WIDE = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)
_NO_DATA = 15  # the type of a frame with a header alone
_PADDING = 0x83  # bits of a header that are 0
_SILENT = 7  # bytes of a frame without data, or with a description of silence, and less
_IN_ROW = 5


def _frame(kind: Kind, sizes: tuple[int, ...], look: bytes) -> Frame | None:
    """The frame that begins here by its header, None where none does; zeros, of which files are padded, are none."""
    if not look or look[0] == 0 or look[0] & _PADDING:
        return None
    number = look[0] >> 3
    if number == _NO_DATA:
        return Frame(kind, 1)
    return Frame(kind, sizes[number]) if number < len(sizes) else None


def _syntax(kind: Kind, sizes: tuple[int, ...]) -> Syntax:
    heads = bytes(
        number << 3 | quality for number in (*range(len(sizes)), _NO_DATA) for quality in (0, 4) if number or quality
    )
    frame: Callable[[bytes], Frame | None] = partial(_frame, kind, sizes)
    return Syntax("amr", re.compile(b"[" + re.escape(heads) + b"]"), frame, in_row=_IN_ROW, silent=_SILENT)


AMR = _syntax(Kind("amrnb", 8000, 160), _NARROW)
AMR_WIDE = _syntax(Kind("amrwb", 16000, 320), _WIDE)
