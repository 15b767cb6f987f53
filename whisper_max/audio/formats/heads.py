"""What a stream is by its first bytes, of containers that can be read from front to back.

Samples without a header can be any bytes. So what is known by a mark is known by a long one, and what is frames or
packets in a row by as many of them as there are in these bytes: a radio is joined anywhere within one.
"""

from __future__ import annotations

import string

from whisper_max.audio.formats.ac3 import AC3
from whisper_max.audio.formats.adts import ADTS
from whisper_max.audio.formats.frame_walk import Syntax
from whisper_max.audio.formats.mp3 import MP3
from whisper_max.errors import AudioError

HEAD = 4096  # bytes that tell what a stream is: two of the largest frames
_SURE = 16  # bytes in which every mark ends
# Bytes of a text that no samples are: eight of them would all be as loud and of the same sign.
_TEXT = frozenset(string.printable.encode())
_LETTERS = 5  # of them that a text has at least

_MARKS = {  # of containers, by FFmpeg's names
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"\x1a\x45\xdf\xa3": "matroska",
    b".snd": "au",
    b"FLV\x01": "flv",
    b"ID3": "mp3",
    b"riff\x2e\x91\xcf\x11": "w64",
    b"caff\x00\x01": "caf",
    b"#!AMR\n": "amr",
    b"TTA1": "tta",
    b"Creative Voice F": "voc",
    b"nut/multimedia c": "nut",
}
_RIFFS, _FORMS = (b"RIFF", b"RIFX", b"RF64"), (b"AIFF", b"AIFC")
_NOT_STREAMS = {  # what has its tables at the end, or is read by going back: by what it begins with
    b"wvpk": "wavpack",
    b"MAC ": "ape",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b".RMF\x00\x00\x00": "rm",
    b"DSD \x1c\x00": "dsf",
}
_BOXED = {b"ftyp": "mp4", b"AVI ": "avi"}  # by bytes 4 to 8 or 8 to 12
_WITHOUT_BEGINNING = {b"OggS\x00": "ogg", b"\x1f\x43\xb6\x75": "matroska"}  # what stands within, behind the tables

_FRAMES = ((MP3, "mp3"), (ADTS, "aac"), (AC3, "ac3"))
_IN_ROW = 3  # frames or packets behind bytes that are none
_TRANSPORT, _SYNC = 188, 0x47  # bytes of a packet of MPEG-TS, and the first of each
_MOST_JUNK = 1728  # bytes of the largest frame of mp3


def needs_more(head: bytes) -> bool:
    """True while these first bytes of a stream don't tell what it is."""
    return len(head) < _SURE or (len(head) < HEAD and _by_mark(head) is None)


def container_of(head: bytes, where: str) -> str | None:
    """The container that begins with these bytes, by FFmpeg's name; None for samples without one.

    Args:
        head: as many as ``needs_more`` wants, or all that there are.
        where: the stream's name in errors.

    Raises:
        AudioError: one that can't be read from front to back, or from the middle, or a text.
    """
    for part in (head[4:8], head[8:12]):
        if part in _BOXED:
            raise _not_a_stream(_BOXED[part], where)
    for mark, refused in _NOT_STREAMS.items():
        if head.startswith(mark):
            raise _not_a_stream(refused, where)
    found = _by_mark(head) or _by_frames(head)
    if found is not None:
        return found
    for mark, cut in _WITHOUT_BEGINNING.items():
        if mark in head:
            raise AudioError(f"{cut} without its beginning", where=where, hint="listen from its start on")
    if len(head) >= _SURE and len(set(head)) >= _LETTERS and _TEXT.issuperset(head):
        line = head[:60].decode("ascii").split("\n")[0]
        raise AudioError("a text, not sound", where=where, found=repr(line))
    return None


def _not_a_stream(name: str, where: str) -> AudioError:
    return AudioError(f"{name} can't be read while it comes", where=where, hint="transcribe takes whole files")


def _by_mark(head: bytes) -> str | None:
    if head[:4] in _RIFFS and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in _FORMS:
        return "aiff"
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def _by_frames(head: bytes) -> str | None:
    """What begins with frames or packets, or within one."""
    for syntax, name in _FRAMES:
        if _count_frames(head, 0, syntax) >= 2:
            return name
    for syntax, name in _FRAMES:
        if any(_count_frames(head, place, syntax, to_end=True) >= _IN_ROW for place in range(1, _MOST_JUNK)):
            return name
    return "mpegts" if any(_are_packets(head, place) for place in range(_TRANSPORT)) else None


def _are_packets(head: bytes, place: int) -> bool:
    """True where packets of MPEG-TS begin at a place and behind it; not where samples repeat themselves."""
    packets = {head[at : at + _TRANSPORT] for at in range(place, len(head) - _TRANSPORT, _TRANSPORT)}
    return len(packets) >= _IN_ROW and {packet[0] for packet in packets} == {_SYNC}


def _count_frames(head: bytes, place: int, syntax: Syntax, *, to_end: bool = False) -> int:
    """Frames of one kind behind one another from a place on; to_end: none where other bytes follow them."""
    count, kind = 0, None
    while (frame := syntax.frame(head[place : place + 8])) is not None and kind in (None, frame.kind):
        count, kind, place = count + 1, frame.kind, place + frame.size
    return 0 if to_end and place + 8 <= len(head) else count
