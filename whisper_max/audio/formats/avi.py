"""The time of sound in avi files, where chunks have no time stamps: FFmpeg counts those that it finds.

Where some are damaged, what follows would come too early. The index at the end of the file tells the time of each
chunk; where that is cut off too, the time of lost bytes is taken to be that of as many others. Microsoft's "AVI RIFF
File Reference".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from whisper_max.audio.pieces import Pieces
from whisper_max.audio.reading import Reading

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.packet import Packet

_CHUNK = struct.Struct("<4sI")  # name and size, before the content
_LISTS = (b"RIFF", b"LIST")  # whose content begins with a name, and then has chunks of its own
_HEADER = struct.Struct("<20x4I8xI")  # of strh: scale, rate, start, length, size of a sample
_FORMAT = struct.Struct("<8xIH")  # of strf, a WAVEFORMATEX: bytes a second and of a block
_SLOWEST = 1000  # bytes a second, of sound whose chunks vary
_MOST_CHUNKS = 10_000  # in the header, and between two of sound
_ENTRY = np.dtype([("name", "<u4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])  # of the index, idx1
_PASSED_OVER = b"JUNK"  # the name of a chunk that is
_LARGEST_INDEX = 1 << 26  # bytes that are looked at: of a day with pictures


class _Header(NamedTuple):
    """What the header tells of a stream.

    unit: seconds. length: units. block: bytes of a unit, 0 if that varies. align, speed: by the format, bytes of a
    block, and a second.
    """

    unit: float
    length: int
    block: int
    align: int
    speed: int


class AviClock:
    """Finds the chunks of one stream in time, as FFmpeg finds them one after the other.

    is_true: False where packets have no time stamps to believe, so that one follows the other.

    Args:
        source: the file.
        stream: its stream, before any packet was read.
    """

    def __init__(self, source: Pieces, stream: AudioStream) -> None:
        self.lost = 0.0  # seconds that FFmpeg left out so far
        self.end = 0.0  # seconds at which the sound ends by the index or, where there is none, by the header
        self._source = source
        self._header = _read_header(source, stream.index)
        self._first: int | None = None  # byte of the first chunk of this stream
        self._chunk = range(0)  # the last one: its bytes
        entries = stream.index_entries
        self._places = np.fromiter((entry.pos for entry in entries), np.int64, len(entries))
        self._times = np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries))  # units, or bytes
        self.is_true = self._header is None or self._counts_chunks(self._header)
        if self._header is not None:
            self.end = self._header.length * self._header.unit

    def _counts_chunks(self, header: _Header) -> bool:
        """Whether FFmpeg counts chunks that vary as the header does.

        To FFmpeg a unit is a block of the format, of which some writers tell what has nothing to do with chunks.
        """
        if header.block or not header.align:
            return True
        if len(self._times) and header.length and self._times[-1] > 2 * header.length:
            return False
        return header.align / header.unit >= max(_SLOWEST, header.speed / 2)

    def find(self, packet: Packet[AudioStream], now: float) -> bool:
        """Take the next packet; True where chunks before it are damaged, whose time is in ``lost`` then.

        Args:
            packet: of this stream.
            now: seconds of the recording before it.
        """
        if self._header is None or packet.pos is None or packet.pos < _CHUNK.size or packet.pos in self._chunk:
            return False
        before, begin = self._chunk, packet.pos - _CHUNK.size
        self._first = begin if self._first is None else self._first
        self._chunk = range(begin, self._end_of(begin))
        n_lost = self._lost_bytes(before.stop, begin) if len(before) > 0 and before.stop <= begin else 0
        if not self.is_true:
            self.lost += n_lost * now / max(1, begin - n_lost - self._first)
            return n_lost > 0
        time = self._indexed(begin)
        counted = float(packet.pts * packet.time_base) if packet.pts is not None and packet.time_base else None
        if time is not None and counted is not None:
            n_lost = max(n_lost, int(time - counted - self.lost > self._header.unit))
            self.lost = max(self.lost, time - counted)
        elif n_lost and counted is not None:
            self.lost += n_lost * (counted + self.lost) / max(1, begin - n_lost - self._first)
        return n_lost > 0

    def _indexed(self, begin: int) -> float | None:
        """The time of a chunk by the index, in seconds; None where it has no such chunk."""
        at = int(np.searchsorted(self._places, begin))
        if self._header is None or at == len(self._places) or self._places[at] != begin:
            return None
        return float(self._times[at]) / max(1, self._header.block) * self._header.unit

    def _end_of(self, begin: int) -> int:
        content = self._source.peek(begin, _CHUNK.size)
        size = _CHUNK.unpack(content)[1] if len(content) == _CHUNK.size else 0
        return begin + _CHUNK.size + size + size % 2

    def _lost_bytes(self, place: int, stop: int) -> int:
        """Bytes before ``stop`` that are no chunk where one should begin at ``place``."""
        for _ in range(_MOST_CHUNKS):
            if place >= stop:
                break
            content = self._source.peek(place, _CHUNK.size)
            name, size = _CHUNK.unpack(content.ljust(_CHUNK.size, b"\0"))
            following = place + _CHUNK.size + (4 if name in _LISTS else size + size % 2)
            if not name.isalnum() or following > stop:
                return stop - place
            place = following
        return 0


def without_bad_index(source: Pieces, reading: Reading) -> Pieces:
    """The file, and where its index is damaged the file without that: FFmpeg goes where the index tells it to.

    Chunks stand one behind the other, and so do they in the index.
    """
    index = _find_index(source)
    entries = np.frombuffer(source.peek(index.start, len(index)), _ENTRY, len(index) // _ENTRY.itemsize)
    places, sizes = entries["place"].astype(np.int64), entries["size"].astype(np.int64)
    if (places[:-1] + _CHUNK.size + sizes[:-1] <= places[1:]).all():
        return source
    reading.warn("damaged", 0.0, 0.0, "its index is damaged, and not used")
    name = index.start - _CHUNK.size
    return source.of([range(name), _PASSED_OVER, range(name + len(_PASSED_OVER), len(source))])


def _find_index(source: Pieces) -> range:
    """The bytes of all whole entries of an avi file's index; none where it has none."""
    place = _CHUNK.size + 4
    for _ in range(_MOST_CHUNKS):
        content = source.peek(place, _CHUNK.size)
        if len(content) < _CHUNK.size:
            break
        name, size = _CHUNK.unpack(content)
        place += _CHUNK.size
        if name == b"idx1":
            present = min(size, len(source) - place, _LARGEST_INDEX)
            return range(place, place + present - present % _ENTRY.itemsize)
        place += size + size % 2
    return range(0)


def _read_header(source: Pieces, number: int) -> _Header | None:
    """Of a stream by its number; None where the header is damaged."""
    place, found = 0, -1
    strh = b""
    for _ in range(_MOST_CHUNKS):
        content = source.peek(place, _CHUNK.size)
        if len(content) < _CHUNK.size:
            return None
        name, size = _CHUNK.unpack(content)
        place += _CHUNK.size
        if name in _LISTS:
            place += 4
            continue
        if name == b"strh":
            found += 1
            strh = source.peek(place, _HEADER.size)
        elif name == b"strf" and found == number and len(strh) == _HEADER.size:
            scale, rate, _, length, block = _HEADER.unpack(strh)
            speed, align = _FORMAT.unpack(source.peek(place, _FORMAT.size).ljust(_FORMAT.size, b"\0"))
            if block:  # FFmpeg believes the format rather than the header
                block = align or block
            return _Header(scale / rate, length, block, align, speed) if rate and scale else None
        place += size + size % 2
    return None
