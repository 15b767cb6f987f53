"""The recordings in a flac file, which may be several joined, each with its true length.

RFC 9639: "fLaC", then STREAMINFO, which may leave the number of samples open or, after an interrupted or edited
recording, tell less than there is. The header of the last frame tells where it ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO
from itertools import pairwise
from typing import NamedTuple

from whisper_max.audio.pieces import Piece

_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # with the header of STREAMINFO: 34 bytes, the last or not
_HEADS = (b"fLaC", b"ID3\x02", b"ID3\x03", b"ID3\x04")
_TOTAL_AT = 18  # bytes from "fLaC" to the 8 that end in the 36 bits of the number of samples
_TOTAL = (1 << 36) - 1
_BLOCK = 1 << 20
_TAILS = (1 << 16, 1 << 20, 1 << 24)  # bytes in which the last frame is looked for; its size has 24 bits
_LARGEST_HEADER = 16  # bytes of a frame's header
_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_BITS = (0, 8, 12, 0, 16, 20, 24, 32)


class _Info(NamedTuple):
    """STREAMINFO: samples of the largest block, Hz, channels, bits of a sample, samples in all (0: not known)."""

    block: int
    rate: int
    n_channels: int
    bits: int
    total: int


def find_recordings(file: FileIO) -> Iterator[list[Piece]]:
    """The pieces of each recording, its header corrected where it tells less samples than there are.

    All of the file as one piece where that is no flac, or where nothing is to be corrected.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    starts: list[int] = []
    if os.pread(file.fileno(), 4, 0) in _HEADS:
        starts = _find_starts(file, n_bytes)
    for start, stop in pairwise([*(starts or [0]), n_bytes]):
        yield _corrected(file, start, stop)


def _find_starts(file: FileIO, n_bytes: int) -> list[int]:
    found: list[int] = []
    for place in range(0, n_bytes, _BLOCK):
        block = os.pread(file.fileno(), _BLOCK + len(_STARTS[0]) - 1, place)
        for start in _STARTS:
            at = block.find(start)
            while at >= 0:
                found.append(place + at)
                at = block.find(start, at + 1)
    return sorted(found)


def _corrected(file: FileIO, start: int, stop: int) -> list[Piece]:
    head = os.pread(file.fileno(), _TOTAL_AT + 8, start)
    if len(head) < _TOTAL_AT + 8 or not head.startswith(_STARTS):
        return [range(start, stop)]
    bits = int.from_bytes(head[_TOTAL_AT:])
    info = _Info(
        block=int.from_bytes(head[10:12]),
        rate=bits >> 44,
        n_channels=(bits >> 41 & 7) + 1,
        bits=(bits >> 36 & 31) + 1,
        total=bits & _TOTAL,
    )
    end = _last_sample(file, start, stop, info)
    if end <= info.total:
        return [range(start, stop)]
    total = (bits & ~_TOTAL | end).to_bytes(8)
    return [range(start, start + _TOTAL_AT), total, range(start + _TOTAL_AT + 8, stop)]


def _last_sample(file: FileIO, start: int, stop: int, info: _Info) -> int:
    """Where the last frame ends by its header, in samples; 0 where none is found."""
    for size in _TAILS:
        first = max(start + _TOTAL_AT, stop - size)
        tail = os.pread(file.fileno(), stop - first, first)
        at = tail.rfind(b"\xff")
        while at >= 0:
            end = _end_of_frame(tail[at : at + _LARGEST_HEADER], info)
            if end is not None:
                return end
            at = tail.rfind(b"\xff", 0, at)
        if stop - size <= start:
            break
    return 0


def _end_of_frame(head: bytes, info: _Info) -> int | None:
    """The sample after a frame, by its header; None where these bytes are none of this recording."""
    if len(head) < 6 or head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return None
    block_code, rate_code = head[2] >> 4, head[2] & 15
    channels, bits = head[3] >> 4, _BITS[head[3] >> 1 & 7]
    if block_code == 0 or rate_code == 15 or (channels + 1 if channels < 8 else 2) != info.n_channels or channels > 10:
        return None
    if (rate_code < len(_RATES) and _RATES[rate_code] not in (0, info.rate)) or bits not in (0, info.bits):
        return None
    number, n_number = _coded_number(head[4:11])
    extra = {6: 1, 7: 2}.get(block_code, 0)
    end = 4 + n_number + extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if n_number == 0 or len(head) <= end or _crc8(head[:end]) != head[end]:
        return None
    block = _block_size(block_code, head[4 + n_number : 4 + n_number + extra])
    return number + block if head[1] == 0xF9 else number * info.block + block


def _block_size(code: int, extra: bytes) -> int:
    if extra:
        return int.from_bytes(extra) + 1
    return 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)


def _coded_number(content: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, up to 36 bits; the number and its bytes, 0 if it is none."""
    first = content[0]
    n_bytes = 8 - (first ^ 0xFF).bit_length()  # leading ones
    if n_bytes == 0:
        return first, 1
    if n_bytes == 1 or n_bytes > len(content) or any(byte >> 6 != 2 for byte in content[1:n_bytes]):
        return 0, 0
    number = first & (0x7F >> n_bytes)
    for byte in content[1:n_bytes]:
        number = number << 6 | byte & 0x3F
    return number, n_bytes


def _crc8(content: bytes) -> int:
    """Of x^8 + x^2 + x + 1, from 0."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    return crc
