"""Several recordings in one file, where a format has no place for them and decoders read the first one only."""

from __future__ import annotations

import os
import re
import struct
from io import FileIO

from whisper_max.audio.formats.tags import tag_size
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
# By how a file begins: how another one does, in bytes that are in no recording by chance.
_BEGINNINGS = {
    b"FLV\x01": re.compile(rb"FLV\x01[\x00\x01\x04\x05]\x00\x00\x00\x09\x00{4}"),
    b"\x30\x26\xb2\x75": re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),  # asf
    b"TTA1": re.compile(rb"TTA1[\x01-\x03]\x00[\x01-\x08]\x00[\x08\x10\x18\x20]\x00.{2}[\x00-\x05]\x00", re.DOTALL),
    b".RMF": re.compile(rb"\.RMF\x00\x00\x00\x12\x00"),
    b"Crea": re.compile(rb"Creative Voice File\x1a"),  # voc
    b"nut/": re.compile(rb"nut/multimedia container\x00"),
    b"\xb7\xd8\x00\x20": re.compile(re.escape(bytes.fromhex("b7d800203749da11a64e0007e95ead8d"))),  # wtv
    b"DSD ": re.compile(rb"DSD \x1c\x00{7}"),
}
_LONGEST_BEGINNING = 32  # bytes
_BLOCK = 1 << 20
_HEAD = 28
_MOST_PADDING = 3  # bytes that writers pad chunks and files with
_MOST_CHUNKS, _MOST_BOXES = 10_000, 200_000  # that are looked at: a recording in fragments has two boxes for each
_CAF_CHUNK = struct.Struct(">4sq")  # after 8 bytes: name and size of the content
_WAVPACK = struct.Struct("<4sI8xI12x")  # mark, size without these two, number of the first sample
_MP4_BOX = struct.Struct(">I4sQ")  # size of all, name, and the size where the first says 1


def check_not_joined(file: FileIO, reading: Reading) -> None:
    """Refuse a file that is followed by another one, in a format whose decoders leave that out or mistake it.

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


def declared_size(head: bytes) -> int | None:
    """How many bytes a recording has by its first ones; None where those don't tell."""
    if head[:4] not in _SIZES or len(head) < _HEAD:
        return None
    layout, more = _SIZES[head[:4]]
    return int(sum(struct.unpack_from(layout, head))) + more


def begins_near(mark: bytes, content: bytes) -> bool:
    """True where a mark stands at the start of some bytes, or behind the padding that may be there."""
    return mark in content[: len(mark) + _MOST_PADDING]


def _second_start(file: FileIO, reading: Reading) -> int | None:
    n_bytes = os.fstat(file.fileno()).st_size
    head = os.pread(file.fileno(), _HEAD, 0)
    mark = head[:4]
    end = declared_size(head)
    if end is not None:
        return _find_near(file, mark, end) if 0 < end < n_bytes else None  # 0: w64 of a program that was cut off
    if mark in _BEGINNINGS:
        return _find_beginning(file, _BEGINNINGS[mark], n_bytes, reading)
    if mark == b"wvpk":
        return _second_wavpack(file, n_bytes, reading)
    if mark == b"caff":
        return _second_caf(file, n_bytes, reading)
    return _second_mp4(file, n_bytes, reading) if head[4:8] == b"ftyp" else None


def _find_near(file: FileIO, mark: bytes, place: int) -> int | None:
    """Where a mark stands at a place or behind the padding that may be there."""
    at = os.pread(file.fileno(), len(mark) + _MOST_PADDING, place).find(mark)
    return None if at < 0 else place + at


def _find_beginning(file: FileIO, beginning: re.Pattern[bytes], n_bytes: int, reading: Reading) -> int | None:
    for place in range(1, n_bytes, _BLOCK):
        reading.watch()
        found = beginning.search(os.pread(file.fileno(), _BLOCK + _LONGEST_BEGINNING, place))
        if found is not None:
            return place + found.start()
    return None


def _second_wavpack(file: FileIO, n_bytes: int, reading: Reading) -> int | None:
    """Where the number of the first sample in a block is 0 again."""
    place = last = 0
    for _ in range(_MOST_BOXES):
        reading.watch()
        if place + _WAVPACK.size > n_bytes:
            break
        look = os.pread(file.fileno(), _WAVPACK.size, place)
        tag = tag_size(file, look, place)
        if tag > 0:
            place += tag
            continue
        mark, size, first = _WAVPACK.unpack(look)
        if mark != b"wvpk":
            break
        if first == 0 and last > 0:
            return place
        last = first
        place += 8 + size
    return None


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
