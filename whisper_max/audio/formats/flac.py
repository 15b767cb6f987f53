"""The recordings in a flac file, which may be several joined. RFC 9639: "fLaC", then STREAMINFO of 34 bytes."""

from __future__ import annotations

import os
from io import FileIO
from itertools import pairwise

from whisper_max.audio.reading import Reading
from whisper_max.errors import AudioError

_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # with the header of STREAMINFO: the last block or not
_HEADS = (b"fLaC", b"ID3\x02", b"ID3\x03", b"ID3\x04")
_BLOCK = 1 << 20
_MOST = 10_000


def find_recordings(file: FileIO, reading: Reading) -> list[range]:
    """The bytes of each recording in a file; none where it is no flac."""
    if os.pread(file.fileno(), 4, 0) not in _HEADS:
        return []
    n_bytes = os.fstat(file.fileno()).st_size
    return [range(start, stop) for start, stop in pairwise([*_find_starts(file, n_bytes, reading), n_bytes])]


def _find_starts(file: FileIO, n_bytes: int, reading: Reading) -> list[int]:
    found: list[int] = []
    for place in range(0, n_bytes, _BLOCK):
        reading.watch()
        block = os.pread(file.fileno(), _BLOCK + len(_STARTS[0]) - 1, place)
        for start in _STARTS:
            at = block.find(start)
            while at >= 0:
                found.append(place + at)
                at = block.find(start, at + 1)
        if len(found) > _MOST:
            raise AudioError("too many recordings joined", where=reading.where, expected=f"at most {_MOST}")
    return sorted(found)
