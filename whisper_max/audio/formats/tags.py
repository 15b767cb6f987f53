"""Tags before, between and behind audio that are none of its format: ID3v1, ID3v2, APEv2 and Lyrics3v2."""

from __future__ import annotations

import os
from io import FileIO

_MOST_LYRICS = 1 << 16  # bytes
_LOOK = 32  # bytes by which a tag is known
_MOST_TAGS = 1000


def tag_size(file: FileIO, look: bytes, place: int) -> int:
    """Bytes of a whole tag at a place of a file, where ``look`` (24 bytes at least) begins; 0 where none does."""
    size = 0
    if look[:3] == b"ID3" and len(look) >= 10 and max(look[6:10]) < 0x80:  # ID3v2: 7 bits per byte, less its header
        footer = 10 if look[5] & 0x10 else 0
        size = 10 + footer + sum(byte << shift for byte, shift in zip(look[6:10], (21, 14, 7, 0), strict=True))
    elif look[:8] == b"APETAGEX" and len(look) >= 24:  # its size is that of what follows the header, if it has one
        size = 32 + (int.from_bytes(look[12:16], "little") if look[23] & 0x20 else 0)
    elif look[:3] == b"TAG":  # ID3v1
        size = 128
    elif look[:11] == b"LYRICSBEGIN":
        end = os.pread(file.fileno(), _MOST_LYRICS, place).find(b"LYRICS200")
        size = end + 9 if end >= 0 else 0
    return size if place + size <= os.fstat(file.fileno()).st_size else 0


def leading_tags(file: FileIO) -> int:
    """Bytes of the tags with which a file begins."""
    place = 0
    for _ in range(_MOST_TAGS):
        size = tag_size(file, os.pread(file.fileno(), _LOOK, place), place)
        if size == 0:
            break
        place += size
    return place
