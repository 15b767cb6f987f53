"""The frames of an mp3 file and the recordings that they make up: several where files were joined.

ISO/IEC 11172-3 and 13818-3 for frames; the Xing or Info header (LAME's "Mp3 Info Tag" revision 1) and the VBRI header
stand in a frame without sound and tell how many frames follow. Decoders stop there, or where they guess the end from
the first bit rate. Here the frames are counted, so that none is left out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache
from io import FileIO
from typing import NamedTuple

from whisper_max.audio.pieces import Piece, count_nonzero
from whisper_max.audio.tags import tag_size
from whisper_max.errors import AudioError

_HEAD = 4  # bytes of a frame's header
_LOOK = 64  # bytes of a frame in which its Xing, Info or VBRI header tells the number of frames
_VBRI_AT = _HEAD + 32
_MOST_JUNK = 1728  # bytes of the largest frame: recordings of a stream begin and end within one
_MOST_SEARCHED = 1 << 20  # bytes between all frames: a file with more is no mp3
_BLOCK = 1 << 12
_BEGINNING = re.compile(rb"\xff[\xe2-\xff]|ID3|TAG|APETAGEX|LYRICSBEGIN")  # of a frame or a tag
_LONGEST_BEGINNING = 11
_HINT = "get the whole file, or convert what is there to wav"

_MPEG_1 = 3  # 2: MPEG 2; 0: MPEG 2.5
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz
_KBPS_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS = {  # by MPEG 1 or not, and layer
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _KBPS_LOW,
    (False, 3): _KBPS_LOW,
}


class _Kind(NamedTuple):
    """What one decoder decodes in a row; kbps is 0 in layer 3, where it may vary."""

    rate: int
    layer: int
    mpeg_1: bool
    mono: bool
    kbps: int


@dataclass
class Recording:
    """Frames that one decoder decodes in a row.

    kind: what they have in common. head: the header of the first one. info: the frame with a Xing, Info or VBRI header,
    if any. declared: the number of frames by it, if it tells. frames: where they are, those that touch as one.
    n_frames: how many. n_junk: bytes between and after them that are neither tags nor zeros.
    """

    kind: _Kind
    head: bytes
    info: range | None = None
    is_vbri: bool = False
    declared: int | None = None
    frames: list[range] = field(default_factory=list)
    n_frames: int = 0
    n_junk: int = 0

    @property
    def is_exact(self) -> bool:
        """True where a Xing or Info header tells the right number of frames: decoders go by it."""
        return not self.is_vbri and self.declared == self.n_frames

    @property
    def is_plain(self) -> bool:
        """True where it is one stretch of frames, with no header or an exact one."""
        if self.info is not None and not (self.is_exact and self.info.stop == self.frames[0].start):
            return False
        return len(self.frames) == 1

    @property
    def n_samples(self) -> int:
        """Its length by its frames."""
        return self.n_frames * _samples(self.kind)

    @property
    def pieces(self) -> list[Piece]:
        """What a decoder is to read: the frames, behind a header that agrees with them."""
        if self.is_exact and self.info is not None:
            return [self.info, *self.frames]
        return [*([_info_frame(self)] if self.kind.layer == 3 else []), *self.frames]

    def add(self, frame: range) -> None:
        """Append a frame."""
        self.n_frames += 1
        if self.frames and self.frames[-1].stop == frame.start:
            self.frames[-1] = range(self.frames[-1].start, frame.stop)
        else:
            self.frames.append(frame)


def find_recordings(file: FileIO, where: str) -> list[Recording]:
    """The recordings of an mp3 file in their order.

    Raises:
        AudioError: a recording has less frames than its header declares, or other bytes between its frames; or there
            is none.
    """
    recordings = _walk(file, where)
    for recording in recordings:
        _check(recording, where)
    recordings = [recording for recording in recordings if recording.n_frames > 0]
    if not recordings:
        raise AudioError("damaged or truncated", where=where, expected="frames of mp3", found="none", hint=_HINT)
    return recordings


def begins(file: FileIO) -> bool:
    """True where the file begins with a frame of mp3, or with tags and then a frame."""
    place = 0
    while size := tag_size(file, look := os.pread(file.fileno(), _LOOK, place), place):
        place += size
    frame = _frame(look)
    return frame is not None and _goes_on(file, place, frame)


def _check(recording: Recording, where: str) -> None:
    if recording.declared is not None and recording.n_frames < recording.declared:
        raise AudioError(
            "truncated",
            where=where,
            expected=f"{recording.declared} frames",
            found=f"{recording.n_frames}",
            hint=_HINT,
        )
    if recording.n_junk > _MOST_JUNK and not recording.is_exact:
        raise _damaged(recording.n_junk, where)


def _damaged(n_junk: int, where: str) -> AudioError:
    return AudioError("damaged", where=where, expected="frames of mp3", found=f"{n_junk} other bytes", hint=_HINT)


def _walk(file: FileIO, where: str) -> list[Recording]:
    n_bytes = os.fstat(file.fileno()).st_size
    recordings: list[Recording] = []
    n_before, n_in_all = 0, 0  # bytes that are neither frames nor tags: before the first frame, in all
    place, in_row = 0, False
    while place < n_bytes:
        look = os.pread(file.fileno(), _LOOK, place)
        frame = _frame(look)
        likely = in_row and frame is not None and frame.kind == recordings[-1].kind
        if frame is not None and place + frame.size <= n_bytes and (likely or _goes_on(file, place, frame)):
            _append(recordings, look, frame, place)
            place, in_row = place + frame.size, True
        elif size := tag_size(file, look, place):
            place += size
        else:
            end = _find_frame(file, place + 1, n_bytes)
            n_junk = count_nonzero(file, place, end)
            n_in_all += n_junk
            if n_in_all > _MOST_SEARCHED:
                raise _damaged(n_in_all, where)
            if recordings:
                recordings[-1].n_junk += n_junk
            else:
                n_before += n_junk
            place, in_row = end, False
    if recordings:
        recordings[0].n_junk += n_before
    return recordings


def _append(recordings: list[Recording], look: bytes, frame: _Frame, place: int) -> None:
    """Add a frame to the last recording, or begin one with it."""
    where = range(place, place + frame.size)
    info = _info(look, frame)
    if info is not None:
        recordings.append(Recording(frame.kind, look[:_HEAD], where, *info))
        return
    if not recordings or recordings[-1].kind != frame.kind:
        recordings.append(Recording(frame.kind, look[:_HEAD]))
    recordings[-1].add(where)


class _Frame(NamedTuple):
    kind: _Kind
    size: int


def _frame(look: bytes) -> _Frame | None:
    """The frame that begins here by its header, None where none does."""
    if len(look) < _HEAD or look[0] != 0xFF or look[1] < 0xE0:
        return None
    return _parse(look[1], look[2], look[3] >> 6 == 3)


@cache
def _parse(second: int, third: int, mono: bool) -> _Frame | None:
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    kbps_code, rate_code = third >> 4, third >> 2 & 3
    if version == 1 or layer == 4 or kbps_code in (0, 15) or rate_code == 3:  # 0: free format
        return None
    mpeg_1 = version == _MPEG_1
    kbps, rate = _KBPS[mpeg_1, layer][kbps_code - 1], _RATES[version][rate_code]
    kind = _Kind(rate, layer, mpeg_1, mono, 0 if layer == 3 else kbps)
    slot = 4 if layer == 1 else 1  # bytes
    size = (_samples(kind) // 8 // slot * kbps * 1000 // rate + (third >> 1 & 1)) * slot
    return _Frame(kind, size)


def _samples(kind: _Kind) -> int:
    """Samples of a frame."""
    return {1: 384, 2: 1152, 3: 1152 if kind.mpeg_1 else 576}[kind.layer]


def _goes_on(file: FileIO, place: int, frame: _Frame) -> bool:
    """True where behind this frame comes one of its kind, a tag or the end: then it is none by chance."""
    place += frame.size
    look = os.pread(file.fileno(), _LOOK, place)
    behind = _frame(look)
    return not look or tag_size(file, look, place) > 0 or (behind is not None and behind.kind == frame.kind)


def _info(look: bytes, frame: _Frame) -> tuple[bool, int | None] | None:
    """Whether a frame is a VBRI header, and the number of frames that it declares; None where it is none at all."""
    if frame.kind.layer != 3:
        return None
    for at in (_info_at(frame.kind), _info_at(frame.kind) + 2):  # 2 bytes more with a checksum
        if look[at : at + 4] in (b"Xing", b"Info"):
            has_number = look[at + 7] & 1
            return False, int.from_bytes(look[at + 8 : at + 12]) if has_number else None
    if look[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return True, int.from_bytes(look[_VBRI_AT + 14 : _VBRI_AT + 18])
    return None


def _info_at(kind: _Kind) -> int:
    """Where the Xing or Info header is in a frame: behind the side information of one or two channels."""
    return _HEAD + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[kind.mpeg_1, kind.mono]


def _info_frame(recording: Recording) -> bytes:
    """A frame with a Xing header that tells the number of frames of a recording."""
    first, second, third, fourth = recording.head
    for code in range(1, 15):  # the smallest in which it fits
        header = bytes([first, second | 1, code << 4 | third & 0x0C, fourth])  # no checksum, no padding
        frame = _frame(header)
        at = _info_at(recording.kind)
        if frame is not None and frame.size >= at + 12:
            content = bytes(at - _HEAD) + b"Xing" + (1).to_bytes(4) + recording.n_frames.to_bytes(4)
            return (header + content).ljust(frame.size, b"\0")
    raise ValueError("no bit rate has a frame of that size")


def _find_frame(file: FileIO, place: int, n_bytes: int) -> int:
    """The next place where a frame or a tag may begin; the end where there is none."""
    while place < n_bytes:
        block = os.pread(file.fileno(), _BLOCK, place)
        found = _BEGINNING.search(block)
        if found:
            return place + found.start()
        place += max(1, len(block) - _LONGEST_BEGINNING)
    return n_bytes
