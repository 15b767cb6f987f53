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
from whisper_max.audio.reading import CONVERT_HINT, Reading
from whisper_max.errors import AudioError


class _Layout(NamedTuple):
    """chunk: name and size before each one. first: byte of the first. samples: name of theirs. pad: 1 if to even."""

    chunk: struct.Struct
    first: int
    samples: bytes
    pad: int


_W64_CHUNK, _W64_FIRST = struct.Struct("<4s12xQ"), 40  # name, rest of the GUID, size with all of this
_HEAD = 36
_MOST_CHUNKS = 10_000  # a file with more is made to be looked through for ever
_LAYOUTS = {
    b"RIFF": _Layout(struct.Struct("<4sI"), 12, b"data", 1),
    b"RIFX": _Layout(struct.Struct(">4sI"), 12, b"data", 1),
    b"RF64": _Layout(struct.Struct("<4sI"), 12, b"data", 1),
    b"BW64": _Layout(struct.Struct("<4sI"), 12, b"data", 1),
    b"FORM": _Layout(struct.Struct(">4sI"), 12, b"SSND", 1),
    b"caff": _Layout(struct.Struct(">4sq"), 8, b"data", 0),
}
_WAVE = (b"WAVE",)
_KINDS = {**dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _WAVE), b"FORM": (b"AIFF", b"AIFC")}  # at byte 8
_IN_DS64 = 0xFFFFFFFF  # a size in rf64 that stands, with 64 bits, in its first chunk
_DS64_SIZE = range(28, 36)  # there
# Name of the format, bytes and frames of a packet, channels, bits of a sample: of the first chunk of a caf file.
_CAF_FORMAT = struct.Struct(">28x4s4xIIII")
_MOST_TAG = 1024  # bytes at the end that are no chunk and no audio either, such as an ID3v1 or a Lyrics3 tag


class Size(NamedTuple):
    """The size that a header tells of its samples.

    declared: bytes. present: bytes of them that the file holds. more: bytes behind them that belong to nothing.
    at: its bytes, and right: those that should stand there: it is 0 in a wav file, as programs leave it that write to
    a pipe or are cut off, or it is more than a caf or an rf64 file has. others: the contents of more chunks of samples,
    which decoders leave out, or the first one, and the byte behind that: end.
    """

    declared: int
    present: int
    more: int = 0
    at: range = range(0)
    right: bytes = b""
    others: tuple[range, ...] = ()
    end: int = 0


def find_size(file: FileIO, reading: Reading) -> Size | None:
    """Look at the size of the samples and at what comes after them; None for a file of another format.

    Raises:
        AudioError: it has too many chunks to look through, or its samples are padded.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    head = os.pread(file.fileno(), _HEAD, 0)
    mark = head[:4]
    if mark == b".snd" and len(head) == _HEAD:
        return _of_au(file, head, n_bytes)
    if mark == b"riff" and len(head) == _HEAD:
        return _of_w64(file, n_bytes, reading)
    layout = _LAYOUTS.get(mark)
    if layout is None or head[8:12] not in _KINDS.get(mark, (head[8:12],)):
        return None
    if mark == b"caff":
        _check_packed(file, reading.where)
    begin, size = _find_samples(file, layout, n_bytes, reading)
    if begin is None:
        return None
    present = n_bytes - begin
    at, right = range(begin - 4, begin), b"\xff\xff\xff\xff"
    is_large = mark in (b"RF64", b"BW64") and size == _IN_DS64 and len(head) >= _DS64_SIZE.stop
    if is_large:
        at, right = _DS64_SIZE, present.to_bytes(len(_DS64_SIZE), "little")
        size = int.from_bytes(head[at.start : at.stop], "little")
        if size > present:
            return Size(size, present, 0, at, right)
    if mark == b"caff" and (size > present or size < 0):  # libsndfile refuses it, or loses the last samples
        return Size(max(size, present), present, 0, range(begin - 8, begin), present.to_bytes(8))
    if size >= present:  # none left out; libsndfile tells where some are missing
        return None
    behind = [_behind(file, layout, start, n_bytes, reading) for start in {begin + size + size % 2, begin + size}]
    end, others = max(behind)
    is_riff = is_large or mark in (b"RIFF", b"RIFX")
    if size == 0 and is_riff and end == begin:
        return Size(0, present, 0, at, right)
    if others and is_riff and size % 2 == 0:
        total = size + sum(map(len, others))
        right = total.to_bytes(len(at), "big" if mark == b"RIFX" else "little")
        return Size(total, total, _more(file, end, n_bytes), at, right, others, begin + size)
    return Size(size, size, _more(file, end, n_bytes) if size > 0 or is_riff else 0)


def _check_packed(file: FileIO, where: str) -> None:
    """Refuse a caf file whose samples stand in more bytes than they have, which decoders read without a gap.

    Raises:
        AudioError: they do.
    """
    head = os.pread(file.fileno(), _CAF_FORMAT.size, 0).ljust(_CAF_FORMAT.size, b"\0")
    name, n_bytes, n_frames, n_channels, n_bits = _CAF_FORMAT.unpack(head)
    expected = n_frames * n_channels * n_bits
    if name == b"lpcm" and n_bytes * 8 != expected:
        found = f"{n_bytes * 8} in {n_frames} frames"
        raise AudioError("padded samples", where=where, expected=f"{expected} bits", found=found, hint=CONVERT_HINT)


def _of_au(file: FileIO, head: bytes, n_bytes: int) -> Size | None:
    begin, size = struct.unpack_from(">4xII", head)
    if size == 0 and begin < n_bytes:  # as of a program that was cut off
        return Size(0, n_bytes - begin, 0, range(8, 12), b"\xff\xff\xff\xff")
    return Size(size, size, _more(file, begin + size, n_bytes)) if 0 < size < _IN_DS64 else None


def _of_w64(file: FileIO, n_bytes: int, reading: Reading) -> Size | None:
    """Of a row of chunks, each with a GUID that begins with its name, and its size; libsndfile reads what is there."""
    place, n_chunks = _W64_FIRST, 0
    while place + _W64_CHUNK.size <= n_bytes:
        n_chunks = _counted(n_chunks, reading)
        name, size = _W64_CHUNK.unpack(os.pread(file.fileno(), _W64_CHUNK.size, place))
        begin = place + _W64_CHUNK.size
        if name == b"data":
            declared, present = size - _W64_CHUNK.size, n_bytes - begin
            return Size(declared, present) if declared > present else None
        place += max(size, _W64_CHUNK.size) + -size % 8
    return None


def _more(file: FileIO, end: int, n_bytes: int) -> int:
    """Bytes behind the end that are neither a tag nor padding."""
    return n_bytes - end if n_bytes - end > _MOST_TAG and count_nonzero(file, end, n_bytes) > 0 else 0


def _find_samples(file: FileIO, layout: _Layout, n_bytes: int, reading: Reading) -> tuple[int | None, int]:
    """Where the samples begin, None if they don't, and their declared size in bytes."""
    place, n_chunks = layout.first, 0
    while place + layout.chunk.size <= n_bytes:
        n_chunks = _counted(n_chunks, reading)
        name, size = layout.chunk.unpack(os.pread(file.fileno(), layout.chunk.size, place))
        place += layout.chunk.size
        if name == layout.samples:
            return place, size
        if size < 0:
            break
        place += size + size % 2 * layout.pad
    return None, 0


def _behind(file: FileIO, layout: _Layout, place: int, n_bytes: int, reading: Reading) -> tuple[int, tuple[range, ...]]:
    """The end of the last whole chunk of those from ``place`` on, and the contents of those of samples."""
    n_chunks = 0
    others: list[range] = []
    while place + layout.chunk.size <= n_bytes:
        name, size = layout.chunk.unpack(os.pread(file.fileno(), layout.chunk.size, place))
        n_chunks = _counted(n_chunks, reading)
        begin = place + layout.chunk.size
        if not all(0x20 <= byte < 0x7F for byte in name) or size < 0 or begin + size > n_bytes:
            break
        if name == layout.samples:
            others.append(range(begin, begin + size))
        place = min(begin + size + size % 2 * layout.pad, n_bytes)
    return place, tuple(others)


def _counted(n_chunks: int, reading: Reading) -> int:
    """One more.

    Raises:
        AudioError: there are too many.
    """
    if n_chunks == _MOST_CHUNKS:
        raise AudioError("too many chunks", where=reading.where, expected=f"at most {_MOST_CHUNKS}")
    reading.watch()
    return n_chunks + 1
