"""The frames of mp3, and of the other layers: ISO/IEC 11172-3 and 13818-3.

The Xing or Info header (LAME's "Mp3 Info Tag" revision 1) and the VBRI header stand in a frame without sound and tell
how many frames follow, and Xing and Info how many samples the encoder put before and behind. Decoders stop there, guess
the end from the first bit rate, or go on with frames of another recording; here the frames are counted.
"""

from __future__ import annotations

import os
import re
from functools import cache
from io import FileIO

from whisper_max.audio.formats.frame_walk import Frame, Info, Kind, Syntax

_HEAD = 4  # bytes of a frame's header
_VBRI_AT = _HEAD + 32
_DELAYS_AT = 141  # bytes from a Xing or Info header to the three of the encoder's delay and padding, if all is there
_NOT_KNOWN = 0xFFFFFFFF  # frames, where a writer had no count
_ALL_FIELDS = 15  # flags of a Xing or Info header with all of them
_DECODER_DELAY = 529  # samples that every decoder of layer 3 is late
_BEGINNING = re.compile(rb"\xff[\xe2-\xff]|ID3|TAG|APETAGEX|LYRICSBEGIN")  # of a frame or a tag

_MPEG_1 = 3  # 2: MPEG 2; 0: MPEG 2.5
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz
_KBPS_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS = {  # by MPEG 1 or not, and layer
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _KBPS_LOW,
    (False, 3): _KBPS_LOW,
}


def _frame(look: bytes) -> Frame | None:
    """The frame that begins here by its header, None where none does."""
    if len(look) < _HEAD or look[0] != 0xFF or look[1] < 0xE0:
        return None
    return _parse(look[1], look[2], look[3] >> 6 == 3)


@cache
def _parse(second: int, third: int, mono: bool) -> Frame | None:
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    kbps_code, rate_code = third >> 4, third >> 2 & 3
    if version == 1 or layer == 4 or kbps_code in (0, 15) or rate_code == 3:  # 0: free format
        return None
    mpeg_1 = version == _MPEG_1
    kbps, rate = _KBPS[mpeg_1, layer][kbps_code - 1], _RATES[version][rate_code]
    n_samples = {1: 384, 2: 1152, 3: 1152 if mpeg_1 else 576}[layer]
    kind = Kind(f"mp{layer}float", rate, n_samples, (mpeg_1, mono, 0 if layer == 3 else kbps))  # it varies in layer 3
    slot = 4 if layer == 1 else 1  # bytes
    size = (n_samples // 8 // slot * kbps * 1000 // rate + (third >> 1 & 1)) * slot
    return Frame(kind, size)


def _info(file: FileIO, place: int, look: bytes, frame: Frame) -> Info | None:
    """What a frame tells of the recording that it begins; None where it is one of sound."""
    if frame.kind.codec != "mp3float":
        return None
    for at in (_info_at(frame.kind), _info_at(frame.kind) + 2):  # 2 bytes more with a checksum
        if look[at : at + 4] in (b"Xing", b"Info"):
            has_number = look[at + 7] & 1
            n_frames = int.from_bytes(look[at + 8 : at + 12]) if has_number else None
            if n_frames == _NOT_KNOWN:
                n_frames = None
            if look[at + 7] & _ALL_FIELDS != _ALL_FIELDS:
                return Info(n_frames)
            delays = int.from_bytes(os.pread(file.fileno(), 3, place + at + _DELAYS_AT))
            delay, padding = delays >> 12, delays & 0xFFF
            return Info(n_frames, delay + _DECODER_DELAY if delay else 0, max(0, padding - _DECODER_DELAY))
    if look[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return Info(int.from_bytes(look[_VBRI_AT + 14 : _VBRI_AT + 18]))
    return None


def _info_at(kind: Kind) -> int:
    """Where the Xing or Info header is in a frame: behind the side information of one or two channels."""
    mpeg_1, mono, _ = kind.more
    return _HEAD + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[bool(mpeg_1), bool(mono)]


MP3 = Syntax("mp3", _BEGINNING, _frame, _info)
"""Also of layers 1 and 2."""
