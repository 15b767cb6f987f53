"""Where the sound of a container should end, and whether it does: by header, by the last bytes, by what was read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whisper_max.audio.formats.repair import Repaired
from whisper_max.audio.pieces import Pieces

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_DECLARING = frozenset({"mov", "matroska", "asf", "flac", "ogg", "tta", "ape", "wv", "wav", "w64", "rm", "mxf"})
_GUESSED = frozenset({"flv", "nut"})  # FFmpeg takes the last time stamp in the file or its index, or the header tells
_FIRM = frozenset({"matroska"})  # an mp4 in fragments tells of the first ones
_NUT_INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"  # behind the sound of each whole nut file
_NUT_END = 1 << 20  # bytes in which that is looked for
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object that tells the size of the file
_ASF_SIZE_AT = 40  # bytes into it
_HEAD = 1 << 16  # bytes in which that is, and in which the last packet of a program stream begins
_PES = re.compile(rb"\x00\x00\x01[\xbd-\xef]")  # how one begins; two bytes with its size come then
_SYNC = b"\x47"
# Bytes of a packet of a transport stream, and the one at which that is: as it is, with a time, with a checksum.
_TS = ((188, 0), (192, 4), (204, 0))
_TRAILING = frozenset({"wtv", "avi"})  # what is behind the sound may be long
_SCARCE = 0.05  # of the bytes: more of them behind the last packet are sound that the demuxer did not find
_LEAST = 4096  # bytes


class Ending:
    """What is known of the end of one track.

    declared: the time stamp of its end by the header; None where that does not tell, or of video beside it. is_guess:
    that may come from time stamps. is_firm: it is written when the recording has ended, and in one piece.
    """

    def __init__(self, repaired: Repaired, container: InputContainer, stream: AudioStream) -> None:
        names = set(container.format.name.split(","))
        self._repaired = repaired
        self.is_guess, self.is_firm = bool(names & _GUESSED), bool(names & _FIRM)
        self.declared = _declared_end(container, stream) if names & (_DECLARING | _GUESSED) else None
        self._is_nut, self._is_asf = "nut" in names, "asf" in names
        self._is_ts, self._is_ps = "mpegts" in names, "mpeg" in names
        self._is_all = len(container.streams) == 1 and not names & _TRAILING  # that the file holds
        self._last = 0  # the byte behind the last packet
        self._is_partial = False  # that is not whole
        self._may_be_partial = "adx" in names

    def seen(self, packet: Packet[AudioStream]) -> None:
        """Take a packet."""
        if packet.size > 0:
            self._is_partial = packet.is_corrupt
            if packet.pos is not None:
                self._last = max(self._last, packet.pos + packet.size)

    def is_cut(self) -> bool:
        """True where the file ends in the middle of something."""
        if self._repaired.is_cut or (self._is_partial and not self._may_be_partial):
            return True
        source = self._repaired.source
        if self._is_nut:
            begin = min(self._last, max(0, len(source) - _NUT_END))
            return _NUT_INDEX not in source.peek(begin, len(source) - begin)
        if self._is_asf:
            head = source.peek(0, _HEAD)
            at = head.find(_ASF_PROPERTIES) + _ASF_SIZE_AT
            return _ASF_PROPERTIES in head and len(source) < int.from_bytes(head[at : at + 8], "little")
        if self._is_ps:
            return _ends_in_pes(source.peek(max(0, len(source) - _HEAD), _HEAD))
        return self._is_ts and _ends_in_ts(source)

    def n_unread(self) -> int:
        """Bytes that should be sound, behind the last packet; 0 where a header tells the length, or few are left."""
        source = self._repaired.source
        n_left = len(source) - self._last
        if self.declared is not None or not self._is_all or self._last == 0 or n_left < _LEAST:
            return 0
        if n_left < _SCARCE * len(source):
            return 0
        rest = source.peek(self._last, n_left)
        return n_left if len(rest) - rest.count(0) > _LEAST else 0


def _ends_in_ts(source: Pieces) -> bool:
    """True where the last packet of a transport stream is not whole, whose packets begin with the file."""
    for size, at in _TS:
        whole = len(source) - len(source) % size
        begins = {source.peek(place + at, 1) for place in range(whole - 2 * size, whole + 1, size) if place >= 0}
        if whole < len(source) and begins == {_SYNC}:
            return True
    return False


def _ends_in_pes(last: bytes) -> bool:
    """True where the last packet of a program stream is not whole."""
    begin = max((found.start() for found in _PES.finditer(last)), default=None)
    return begin is not None and begin + 6 + int.from_bytes(last[begin + 4 : begin + 6]) > len(last)


def _declared_end(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        start = 0 if container.format.name == "asf" else stream.start_time or 0  # in asf it is in the duration
        return float((start + stream.duration) * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1e6)  # AV_TIME_BASE, microseconds
    return None
