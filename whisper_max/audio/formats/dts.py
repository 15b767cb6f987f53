"""The frames of DTS without extensions, of 16 bits in this order: ETSI TS 102 114, 5.3.1."""

from __future__ import annotations

import re

from whisper_max.audio.formats.frame_walk import Frame, Kind, Syntax

_MARK = b"\x7f\xfe\x80\x01"
_BEGINNING = re.compile(rb"\x7f\xfe\x80\x01|ID3|TAG|APETAGEX|LYRICSBEGIN")  # of a frame or a tag
_HEAD = 10  # bytes of a frame by which it is known
_RATES = {1: 8000, 2: 16000, 3: 32000, 6: 11025, 7: 22050, 8: 44100, 11: 12000, 12: 24000, 13: 48000}  # Hz
_BLOCK = 32  # samples
_LEAST_BLOCKS, _LEAST_SIZE = 6, 96


def _frame(look: bytes) -> Frame | None:
    """The frame that begins here by its header, None where none does."""
    if len(look) < _HEAD or look[:4] != _MARK:
        return None
    bits = int.from_bytes(look[4:_HEAD])  # 48: type 1, deficit 5, checksum 1, blocks 7, size 14, layout 6, rate 4, ...
    n_blocks, size = (bits >> 34 & 127) + 1, (bits >> 20 & 0x3FFF) + 1
    layout, rate = bits >> 14 & 63, _RATES.get(bits >> 10 & 15)
    if rate is None or n_blocks < _LEAST_BLOCKS or size < _LEAST_SIZE:
        return None
    return Frame(Kind("dca", rate, _BLOCK * n_blocks, (layout,)), size)


DTS = Syntax("dts", _BEGINNING, _frame)
