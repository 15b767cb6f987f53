"""The frames of AC-3 and of E-AC-3 without substreams: ETSI TS 102 366, 4.4.1 and E.1.3.1."""

from __future__ import annotations

import re

from whisper_max.audio.formats.frame_walk import Frame, Kind, Syntax

_MARK = b"\x0b\x77"
_BEGINNING = re.compile(rb"\x0b\x77|ID3|TAG|APETAGEX|LYRICSBEGIN")  # of a frame or a tag
_HEAD = 6  # bytes of a frame by which it is known
_RATES = (48000, 44100, 32000)  # Hz
_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_SAMPLES = 1536  # of a frame: 6 blocks of 256
_BLOCKS = (1, 2, 3, 6)
_AC3, _LAST_AC3, _LAST_EAC3 = 8, 10, 16  # versions: of AC-3, at lower rates up to, and of E-AC-3 up to


def _frame(look: bytes) -> Frame | None:
    """The frame that begins here by its header, None where none does."""
    if len(look) < _HEAD or look[:2] != _MARK:
        return None
    version = look[5] >> 3
    if version <= _LAST_AC3:
        return _of_ac3(look, version)
    return _of_eac3(look) if version <= _LAST_EAC3 else None


def _of_ac3(look: bytes, version: int) -> Frame | None:
    rate_code, size_code = look[4] >> 6, look[4] & 63
    if rate_code == len(_RATES) or size_code >= 2 * len(_KBPS):
        return None
    rate, kbps = _RATES[rate_code], _KBPS[size_code >> 1]
    words = kbps * 96000 // rate  # of 16 bits
    if rate == 44100:  # where that is no whole number
        words += size_code & 1
    return Frame(Kind("ac3", rate >> max(0, version - _AC3), _SAMPLES, (version, look[6] >> 5)), 2 * words)


def _of_eac3(look: bytes) -> Frame | None:
    kind, number = look[2] >> 6, look[2] >> 3 & 7
    rate_code, blocks_code = look[4] >> 6, look[4] >> 4 & 3
    size = 2 * ((look[2] & 7) << 8 | look[3]) + 2
    if kind not in (0, 2) or number or size <= _HEAD:  # other streams beside the first one, of which FFmpeg makes one
        return None
    if rate_code < len(_RATES):
        rate, n_blocks = _RATES[rate_code], _BLOCKS[blocks_code]
    elif blocks_code < len(_RATES):  # at half the rate
        rate, n_blocks = _RATES[blocks_code] // 2, _BLOCKS[-1]
    else:
        return None
    return Frame(Kind("eac3", rate, 256 * n_blocks, (look[4] >> 1 & 7,)), size)


AC3 = Syntax("ac3", _BEGINNING, _frame)
"""And E-AC-3."""
