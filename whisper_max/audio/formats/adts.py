"""The frames of aac in ADTS, as .aac files and radio streams have them: ISO/IEC 13818-7, 6.2."""

from __future__ import annotations

import re

from whisper_max.audio.formats.frame_walk import Frame, Kind, Syntax

_HEAD = 7  # bytes of a frame's header, without its checksum
_BEGINNING = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|ID3|TAG|APETAGEX|LYRICSBEGIN")  # of a frame or a tag
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # Hz
_BLOCK = 1024  # samples, at the rate of the header: what SBR adds is in between


def _frame(look: bytes) -> Frame | None:
    """The frame that begins here by its header, None where none does."""
    if len(look) < _HEAD or look[0] != 0xFF or look[1] & 0xF6 != 0xF0:
        return None
    profile, rate_code, channels = look[2] >> 6, look[2] >> 2 & 15, (look[2] & 1) << 2 | look[3] >> 6
    size = (look[3] & 3) << 11 | look[4] << 3 | look[5] >> 5
    if rate_code >= len(_RATES) or size <= _HEAD:
        return None
    n_blocks = (look[6] & 3) + 1
    return Frame(Kind("aac", _RATES[rate_code], n_blocks * _BLOCK, (profile, channels)), size)


ADTS = Syntax("aac", _BEGINNING, _frame)
