"""What follows the samples that a wav file's header declares: other chunks, padding, or samples that it left out.

RIFF, as in Microsoft's "Multimedia Programming Interface and Data Specifications 1.0": a file is a row of chunks, each
with a name of 4 printable characters, the size of its content and the content, which is padded to an even size.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from typing import TYPE_CHECKING

from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_FIRST_CHUNK = 12  # after "RIFF", the size of all and "WAVE"
_HEADERS = {b"RIFF": struct.Struct("<4sI"), b"RIFX": struct.Struct(">4sI")}
_MOST_TAG = 1024  # bytes at the end that are no chunk and no audio either, such as an ID3v1 or a Lyrics3 tag
_BLOCK = 1 << 20


def find_missing_size(file: FileIO, where: str) -> int | None:
    """Look at what a wav file holds after the samples of its header.

    Returns:
        where the size of the samples stands, if it is 0 and samples follow, as programs leave it that write to a pipe
        or are cut off; None where the size counts, and for files that are no wav.

    Raises:
        AudioError: after the declared samples come more bytes, and they are neither chunks nor padding.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    riff = os.pread(file.fileno(), _FIRST_CHUNK, 0)
    header = _HEADERS.get(riff[:4])
    if header is None or riff[8:] != b"WAVE":
        return None
    begin, size = _find_samples(file, header, n_bytes)
    if begin is None or begin + size >= n_bytes:  # none, or none left out; a file that is too short is found later
        return None
    ends = [_end_of_chunks(file, header, start, n_bytes) for start in {begin + size + size % 2, begin + size}]
    if size == 0 and max(ends) == begin:
        return begin - 4
    n_left = n_bytes - max(ends)
    if n_left > _MOST_TAG and not _is_silent(file, max(ends)):
        raise AudioError(
            "its header declares less audio than it holds",
            where=where,
            expected=f"{size} bytes",
            found=f"{n_left} more that belong to nothing",
            hint="repair the header, or cut off what is not audio",
        )
    return None


def _find_samples(file: FileIO, header: struct.Struct, n_bytes: int) -> tuple[int | None, int]:
    """Where the samples begin, None if they don't, and their declared size in bytes."""
    place = _FIRST_CHUNK
    while place + header.size <= n_bytes:
        name, size = header.unpack(os.pread(file.fileno(), header.size, place))
        place += header.size
        if name == b"data":
            return place, size
        place += size + size % 2
    return None, 0


def _end_of_chunks(file: FileIO, header: struct.Struct, place: int, n_bytes: int) -> int:
    """The end of the last whole chunk of those from ``place`` on."""
    while place + header.size <= n_bytes:
        name, size = header.unpack(os.pread(file.fileno(), header.size, place))
        end = place + header.size + size
        if not all(0x20 <= byte < 0x7F for byte in name) or end > n_bytes:
            break
        place = min(end + size % 2, n_bytes)
    return place


def _is_silent(file: FileIO, place: int) -> bool:
    """True where only zeros follow."""
    while block := os.pread(file.fileno(), _BLOCK, place):
        if block.count(0) != len(block):
            return False
        place += len(block)
    return True


class WavToItsEnd:
    """A wav file whose size of the samples reads as unknown, so that all that follows counts as samples.

    file: read where it stands. size_at: where the size is stored, as ``find_missing_size`` gave it.
    """

    def __init__(self, file: FileIO, size_at: int) -> None:
        self._file = file
        self._size_at = size_at

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer from the file; the number of bytes that there were."""
        start = self._file.tell()
        n_read = self._file.readinto(buffer) or 0
        with memoryview(buffer) as read:
            for place in range(max(start, self._size_at), min(start + n_read, self._size_at + 4)):
                read[place - start] = 0xFF
        return n_read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file does."""
        return self._file.tell()
