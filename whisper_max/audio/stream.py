"""Sound that is decoded while it comes, from a pipe or an address: containers that can be read from front to back.

A stream is what it is by its first bytes. What has a clock keeps it: silence stands for packets that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import av

from whisper_max.audio.block import Block, mended
from whisper_max.audio.formats.codecs import stream_decoder
from whisper_max.audio.formats.containers import Frames, take_layout
from whisper_max.audio.formats.mp3 import MP3
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.audio.warnings import AudioWarning
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.container import InputContainer

HEAD = 4096  # bytes that tell what a stream is: two frames of mp3
_SURE = 12  # bytes that are enough for all others
_EAGER = {"probesize": "32768", "analyzeduration": "500000"}  # bytes and microseconds that are read ahead at most
_TIMEOUT = (10.0, 30.0)  # seconds in which an address opens, and in which more of it comes
_MOST_FAULTS = 100  # packets in a row that can't be decoded
_NOT_STREAMS = {b"ftyp": "mp4", b"AVI ": "avi"}  # by bytes 4 to 8 or 8 to 12; their tables may stand at the end
_TRANSPORT = 188  # bytes of a packet of MPEG-TS, each of which begins with an 0x47


def needs_more(head: bytes) -> bool:
    """True while these first bytes of a stream don't tell what it is."""
    return len(head) < (HEAD if head[:1] in (b"\xff", b"\x47") else _SURE)


def container_of(head: bytes, where: str) -> str | None:
    """The container that begins with these bytes, by FFmpeg's name; None for samples without one.

    Raises:
        AudioError: one that can't be read from front to back.
    """
    for part in (head[4:8], head[8:12]):
        if part in _NOT_STREAMS:
            hint = "transcribe takes whole files"
            raise AudioError(f"{_NOT_STREAMS[part]} can't be read while it comes", where=where, hint=hint)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    beginnings = {b"fLaC": "flac", b"OggS": "ogg", b"\x1a\x45\xdf\xa3": "matroska", b".snd": "au", b"FLV\x01": "flv"}
    if head[:4] in beginnings:
        return beginnings[head[:4]]
    if head[:3] == b"ID3" or _are_frames(head):
        return "mp3"
    if (
        head[:1] == b"\x47"
        and head[_TRANSPORT : _TRANSPORT + 1] == head[2 * _TRANSPORT : 2 * _TRANSPORT + 1] == b"\x47"
    ):
        return "mpegts"
    return None


def _are_frames(head: bytes) -> bool:
    """True for two frames of mp3, one behind the other: one alone may be samples that look like it."""
    first = MP3.frame(head)
    second = None if first is None else MP3.frame(head[first.size :])
    return first is not None and second is not None and first.kind == second.kind


class _Pipe:
    """What FFmpeg reads from: the bytes that were looked at, and those that come; it can't seek."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read

    def read(self, n_bytes: int) -> bytes:
        """As many bytes as there are now, up to ``n_bytes``; none at the end."""
        if self._head:
            taken, self._head = self._head[:n_bytes], self._head[n_bytes:]
            return taken
        return self._read(n_bytes)


class SoundStream:
    """A stream that is being decoded, by whoever asks for its blocks; it is closed behind the last one.

    Args:
        container: of FFmpeg; closed where there is no sound in it.
        where: its name in errors.

    Attributes:
        sampling_rate, channels: of all of it, in Hz.

    Raises:
        AudioError: it is damaged, or has no sound.
    """

    def __init__(self, container: InputContainer, where: str) -> None:
        self._container, self._where = container, where
        self._reading = Reading(where)
        self._blocks = self._decode()
        try:
            first = next(self._blocks, None)
            if first is None:
                raise AudioError("no sound in it", where=where)
        except av.FFmpegError as error:
            container.close()
            raise AudioError("damaged, or no sound", where=where, found=error) from error
        except AudioError:
            container.close()
            raise
        self._first = first
        self.sampling_rate, self.channels, _ = first.kind

    @property
    def warnings(self) -> list[AudioWarning]:
        """What was found so far."""
        return self._reading.warnings

    def blocks(self) -> Iterator[Block]:
        """The sound as it comes; once.

        Raises:
            AudioError: the stream is damaged, breaks off, or changes its rate or channels.
        """
        try:
            for block in chain([self._first], self._blocks):
                if block.kind[:2] != (self.sampling_rate, self.channels):
                    expected, found = (f"{kind[0]} Hz, {kind[1]} channels" for kind in (self._first.kind, block.kind))
                    raise AudioError("the sound changes its form", where=self._where, expected=expected, found=found)
                yield block
        except av.FFmpegError as error:
            raise AudioError("the stream breaks off", where=self._where, found=error) from error
        finally:
            self._container.close()

    def _decode(self) -> Iterator[Block]:
        if not self._container.streams.audio:
            raise AudioError("no sound in it", where=self._where)
        stream = self._container.streams.audio[0]
        if stream.codec_context is None:
            raise AudioError("its audio is in a codec that is not known", where=self._where)
        layout = take_layout(stream.codec_context)
        decoder = stream_decoder(stream, self._where)
        frames, timeline = Frames(decoder, self._where, layout), Timeline(self._reading)
        timeline.begin(None)
        n_faults = 0
        for packet in self._container.demux(stream):
            try:
                decoded = decoder.decode(packet)
            except av.FFmpegError:
                n_faults += 1
                if n_faults > _MOST_FAULTS:
                    raise
                continue
            for frame in decoded:
                n_faults = 0
                for block in frames.blocks(frame):
                    yield from timeline.place(mended(block)[0], frame.time)
        yield from timeline.finish()


def piped_stream(container: str, head: bytes, read: Callable[[int], bytes], where: str) -> SoundStream:
    """A stream whose bytes come from somewhere.

    Args:
        container: of ``container_of``.
        head: the bytes that were read.
        read: gives those that follow, as many as there are, up to a number; none at the end.
        where: its name in errors.

    Raises:
        AudioError: it is damaged, or has no sound.
    """
    pipe = _Pipe(head, read)
    try:
        opened = av.open(pipe, "r", container, _EAGER, metadata_errors="replace", buffer_size=HEAD)
    except av.FFmpegError as error:
        raise AudioError("damaged, or no sound", where=where, found=error) from error
    return SoundStream(opened, where)


def addressed_stream(url: str, where: str) -> SoundStream:
    """A stream at an address that FFmpeg knows (http, rtsp, udp, srt and others).

    Raises:
        AudioError: it can't be reached, or is nothing that is known as sound.
    """
    try:
        opened = av.open(url, "r", metadata_errors="replace", timeout=_TIMEOUT)
    except (av.FFmpegError, OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or type(error).__name__  # its text has all of the address
        raise AudioError("the stream can't be opened", where=where, found=found) from error
    return SoundStream(opened, where)
