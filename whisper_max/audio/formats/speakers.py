"""Which speakers the channels of a file are that libsndfile reads: each format has its own way to say so.

wav, w64 and rf64 have a mask (WAVEFORMATEXTENSIBLE), aiff and caf a chunk of Core Audio's. libsndfile gives channels in
the order in which they stand in the file.
"""

from __future__ import annotations

import os
import re
import struct
from io import FileIO
from typing import NamedTuple

import soundfile

from whisper_max.audio.channels import Layout, mask_layout

_MASK = re.compile(r"^\s*Channel Mask\s*:\s*0x([0-9A-F]+)", re.MULTILINE)  # in libsndfile's log

# Core Audio's labels, CoreAudioBaseTypes.h: those from 1 on are the bits of the bitmap.
_LABELS = ("", "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR")
_MORE_LABELS = {16: "TBL", 17: "TBC", 18: "TBR", 33: "SL", 34: "SR", 35: "WL", 36: "WR", 37: "LFE2", 38: "DL", 39: "DR"}

# Core Audio's tags of layouts, kAudioChannelLayoutTag_*; their lower 16 bits are the number of channels.
_USE_DESCRIPTIONS, _USE_BITMAP = 0, 1 << 16
_TAGS = {
    108: "FL FR BL BR",
    **{113: "FL FR FC", 114: "FC FL FR", 115: "FL FR FC BC", 116: "FC FL FR BC"},
    **{117: "FL FR FC SL SR", 118: "FL FR SL SR FC", 119: "FL FC FR SL SR", 120: "FC FL FR SL SR"},
    **{121: "FL FR FC LFE SL SR", 122: "FL FR SL SR FC LFE", 123: "FL FC FR SL SR LFE", 124: "FC FL FR SL SR LFE"},
    **{125: "FL FR FC LFE SL SR BC", 126: "FL FR FC LFE BL BR FLC FRC", 127: "FC FLC FRC FL FR BL BR LFE"},
    **{128: "FL FR FC LFE SL SR BL BR", 131: "FL FR BC", 132: "FL FR SL SR", 133: "FL FR LFE", 134: "FL FR LFE BC"},
    **{135: "FL FR LFE SL SR", 136: "FL FR FC LFE", 137: "FL FR FC LFE BC", 138: "FL FR SL SR LFE"},
}


class _Chunks(NamedTuple):
    """Of a format: name and size before each chunk, byte of the first one, name of that of the layout, padding."""

    head: struct.Struct
    first: int
    name: bytes
    pad: int


_FORMATS = {
    "AIFF": _Chunks(struct.Struct(">4sI"), 12, b"CHAN", 1),
    "CAF": _Chunks(struct.Struct(">4sq"), 8, b"chan", 0),
}
_MOST_CHUNKS = 1000  # that are looked at
_LAYOUT = struct.Struct(">III")  # tag, bitmap, number of descriptions
_DESCRIPTION = struct.Struct(">I16x")  # label; flags and coordinates


def find_layout(sound: soundfile.SoundFile, file: FileIO) -> Layout | None:
    """The speakers of a file's channels; None where it doesn't say.

    Args:
        sound: the file, opened.
        file: it is read by ranges; its position, which libsndfile may share, stays.
    """
    if sound.channels <= 2:
        return None
    if sound.format in _FORMATS:
        return _core_audio_layout(file, _FORMATS[sound.format], sound.channels)
    mask = _MASK.search(sound.extra_info)
    return mask_layout(int(mask[1], 16), sound.channels) if mask else None


def _core_audio_layout(file: FileIO, chunks: _Chunks, n_channels: int) -> Layout | None:
    content = _find_chunk(file, chunks, _LAYOUT.size + n_channels * _DESCRIPTION.size)
    if len(content) < _LAYOUT.size:
        return None
    tag, bitmap, n_descriptions = _LAYOUT.unpack_from(content)
    if tag == _USE_BITMAP:
        return mask_layout(bitmap, n_channels)
    if tag != _USE_DESCRIPTIONS:
        layout = tuple(_TAGS.get(tag >> 16, "").split())
    elif len(content) == _LAYOUT.size + n_descriptions * _DESCRIPTION.size:
        layout = tuple(_label(label) for (label,) in _DESCRIPTION.iter_unpack(content[_LAYOUT.size :]))
    else:
        return None
    return layout if len(layout) == n_channels else None


def _label(number: int) -> str:
    return _LABELS[number] if number < len(_LABELS) else _MORE_LABELS.get(number, "")


def _find_chunk(file: FileIO, chunks: _Chunks, n_bytes: int) -> bytes:
    """At most so many bytes of the layout's chunk; none where there is no such chunk."""
    place = chunks.first
    for _ in range(_MOST_CHUNKS):
        head = os.pread(file.fileno(), chunks.head.size, place)
        if len(head) < chunks.head.size:
            break
        name, size = chunks.head.unpack(head)
        if size < 0:  # caf: samples to the end of the file
            break
        place += chunks.head.size
        if name == chunks.name:
            return os.pread(file.fileno(), min(size, n_bytes), place)
        place += size + size % 2 * chunks.pad
    return b""
