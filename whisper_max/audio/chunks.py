"""What follows the samples that a header declares: other chunks, padding, or samples that it left out.

A wav, rf64, aiff or caf file is a row of chunks, each with a name of 4 printable characters, the size of its content
and the content, which all but caf pad to an even size (RIFF in Microsoft's "Multimedia Programming Interface and Data
Specifications 1.0", EBU Tech 3306, Apple's "Audio Interchange File Format" and "Core Audio Format Specification"). An
au file is a header and samples.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from typing import NamedTuple

from whisper_max.audio.pieces import count_nonzero
from whisper_max.errors import AudioError


class _Layout(NamedTuple):
    """chunk: name and size before each one. first: byte of the first. samples: name of theirs. pad: 1 if to even."""

    chunk: struct.Struct
    first: int
    samples: bytes
    pad: int


_HEAD = 36
_LAYOUTS = {
    b"RIFF": _Layout(struct.Struct("<4sI"), 12, b"data", 1),
    b"RIFX": _Layout(struct.Struct(">4sI"), 12, b"data", 1),
    b"RF64": _Layout(struct.Struct("<4sI"), 12, b"data", 1),
    b"FORM": _Layout(struct.Struct(">4sI"), 12, b"SSND", 1),
    b"caff": _Layout(struct.Struct(">4sq"), 8, b"data", 0),
}
_KINDS = {b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",), b"RF64": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC")}  # at byte 8
_IN_DS64 = 0xFFFFFFFF  # a size in rf64 that stands, with 64 bits, in its first chunk
_MOST_TAG = 1024  # bytes at the end that are no chunk and no audio either, such as an ID3v1 or a Lyrics3 tag


def find_missing_size(file: FileIO, where: str) -> int | None:
    """Look at what a file holds after the samples of its header.

    Returns:
        where the size of a wav file's samples stands, if it is 0 and samples follow, as programs leave it that write to
        a pipe or are cut off; None where the size counts, and for files of another format.

    Raises:
        AudioError: after the declared samples come more bytes, and they are neither chunks nor padding.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    head = os.pread(file.fileno(), _HEAD, 0)
    mark = head[:4]
    if mark == b".snd" and len(head) == _HEAD:
        begin, size = struct.unpack_from(">4xII", head)
        if 0 < size < _IN_DS64:
            _check_rest(file, begin + size, size, n_bytes, where)
        return None
    layout = _LAYOUTS.get(mark)
    if layout is None or head[8:12] not in _KINDS.get(mark, (head[8:12],)):
        return None
    begin, size = _find_samples(file, layout, n_bytes)
    if mark == b"RF64" and size == _IN_DS64:
        size = int.from_bytes(head[28:36], "little")
    if begin is None or not 0 <= size < n_bytes - begin:  # none, or none left out; a file too short is found later
        return None
    ends = [_end_of_chunks(file, layout, start, n_bytes) for start in {begin + size + size % 2, begin + size}]
    if size == 0 and max(ends) == begin and mark in (b"RIFF", b"RIFX"):
        return begin - 4
    if size > 0 or mark in (b"RIFF", b"RIFX"):
        _check_rest(file, max(ends), size, n_bytes, where)
    return None


def _check_rest(file: FileIO, end: int, size: int, n_bytes: int, where: str) -> None:
    if n_bytes - end > _MOST_TAG and count_nonzero(file, end, n_bytes) > 0:
        raise AudioError(
            "its header declares less audio than it holds",
            where=where,
            expected=f"{size} bytes",
            found=f"{n_bytes - end} more that belong to nothing",
            hint="repair the header, or cut off what is not audio",
        )


def _find_samples(file: FileIO, layout: _Layout, n_bytes: int) -> tuple[int | None, int]:
    """Where the samples begin, None if they don't, and their declared size in bytes."""
    place = layout.first
    while place + layout.chunk.size <= n_bytes:
        name, size = layout.chunk.unpack(os.pread(file.fileno(), layout.chunk.size, place))
        place += layout.chunk.size
        if name == layout.samples or size < 0:
            return place, size
        place += size + size % 2 * layout.pad
    return None, 0


def _end_of_chunks(file: FileIO, layout: _Layout, place: int, n_bytes: int) -> int:
    """The end of the last whole chunk of those from ``place`` on."""
    while place + layout.chunk.size <= n_bytes:
        name, size = layout.chunk.unpack(os.pread(file.fileno(), layout.chunk.size, place))
        end = place + layout.chunk.size + size
        if not all(0x20 <= byte < 0x7F for byte in name) or size < 0 or end > n_bytes:
            break
        place = min(end + size % 2 * layout.pad, n_bytes)
    return place
