"""Several recordings in one file, where a format has no place for them and decoders read the first one only."""

from __future__ import annotations

import os
import struct
from io import FileIO

from whisper_max.audio.reading import Reading
from whisper_max.errors import AudioError

# By how a file begins: what to unpack from its head, and what to add to the sum of it for the bytes of the file.
_SIZES = {
    b"RIFF": ("<4xI", 8),
    b"RIFX": (">4xI", 8),
    b"RF64": ("<20xQ", 8),
    b"riff": ("<16xQ", 0),  # w64
    b"FORM": (">4xI", 8),  # aiff
    b".snd": (">4xII", 0),  # au
}
_HEAD = 28
_MOST_PADDING = 3  # bytes that writers pad chunks and files with
_MOST_CHUNKS, _MOST_BOXES = 10_000, 200_000  # that are looked at: a recording in fragments has two boxes for each
_CAF_CHUNK = struct.Struct(">4sq")  # after 8 bytes: name and size of the content
_MP4_BOX = struct.Struct(">I4sQ")  # size of all, name, and the size where the first says 1


def check_not_joined(file: FileIO, reading: Reading) -> None:
    """Refuse a wav, rf64, w64, aiff, au, caf or mp4 file after whose end another one begins.

    Raises:
        AudioError: another one does.
    """
    place = _second_start(file, reading)
    if place is not None:
        raise AudioError(
            "several files joined into one",
            where=reading.where,
            expected="one recording",
            found=f"another one at byte {place}",
            hint="transcribe them one by one, or join what they decode to",
        )


def _second_start(file: FileIO, reading: Reading) -> int | None:
    n_bytes = os.fstat(file.fileno()).st_size
    head = os.pread(file.fileno(), _HEAD, 0)
    mark = head[:4]
    if mark in _SIZES and len(head) == _HEAD:
        layout, more = _SIZES[mark]
        end = sum(struct.unpack_from(layout, head)) + more
        return _find_near(file, mark, end) if end < n_bytes else None
    if mark == b"caff":
        return _second_caf(file, n_bytes, reading)
    return _second_mp4(file, n_bytes, reading) if head[4:8] == b"ftyp" else None


def _find_near(file: FileIO, mark: bytes, place: int) -> int | None:
    """Where a mark stands at a place or behind the padding that may be there."""
    at = os.pread(file.fileno(), len(mark) + _MOST_PADDING, place).find(mark)
    return None if at < 0 else place + at


def _second_caf(file: FileIO, n_bytes: int, reading: Reading) -> int | None:
    place = 8
    for _ in range(_MOST_CHUNKS):
        reading.watch()
        if place + _CAF_CHUNK.size > n_bytes:
            break
        _, size = _CAF_CHUNK.unpack(os.pread(file.fileno(), _CAF_CHUNK.size, place))
        if size < 0:  # to the end of the file
            return None
        place += _CAF_CHUNK.size + size
        found = _find_near(file, b"caff", place) if place < n_bytes else None
        if found is not None:
            return found
    return None


def _second_mp4(file: FileIO, n_bytes: int, reading: Reading) -> int | None:
    place = 0
    for _ in range(_MOST_BOXES):
        reading.watch()
        if place >= n_bytes:
            break
        box = os.pread(file.fileno(), _MP4_BOX.size, place)
        size, name, large = _MP4_BOX.unpack(box.ljust(_MP4_BOX.size, b"\0"))
        if place > 0 and name == b"ftyp":
            return place
        size = large if size == 1 else size
        if size < 8:  # 0: to the end of the file
            return None
        place += size
    return None
