"""Sound that is decoded while it comes, from a pipe or an address: containers that can be read from front to back.

A stream is what it is by its first bytes. What has a clock keeps it: silence stands for packets that are missing.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import av

from whisper_max.audio.block import Block, mended
from whisper_max.audio.formats.codecs import stream_decoder
from whisper_max.audio.formats.containers import Frames, take_layout
from whisper_max.audio.formats.elements import MATROSKA, without_size
from whisper_max.audio.formats.heads import HEAD
from whisper_max.audio.formats.joined import begins_near, declared_size
from whisper_max.audio.formats.stream_repair import RepairedStream
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.audio.warnings import AudioWarning
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import InputContainer

_EAGER = {"probesize": "32768", "analyzeduration": "500000"}  # bytes and microseconds that are read ahead at most
_LOOK = 16  # bytes behind the end of a recording that tell whether another follows
_TIMEOUT = (10.0, 30.0)  # seconds in which an address opens, and in which more of it comes
_MOST_FAULTS = 100  # packets in a row that can't be decoded, or places at which no packet is found


class _Pipe:
    """What FFmpeg reads from: the bytes that were looked at, and those that come; it can't seek."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read
        self._mark, self._end = head[:4], declared_size(head)  # of a recording
        self._n_taken = 0
        self._behind = b""  # its first bytes behind the end

    def read(self, n_bytes: int) -> bytes:
        """As many bytes as there are now, up to ``n_bytes``; none at the end."""
        taken, self._head = self._head[:n_bytes], self._head[n_bytes:]
        taken = taken or self._read(n_bytes)
        if self._end is not None and len(self._behind) < _LOOK:
            self._behind += taken[max(0, self._end - self._n_taken) :][:_LOOK]
        self._n_taken += len(taken)
        return taken

    @property
    def has_second(self) -> bool:
        """True where another recording follows, in a format that has one only."""
        return begins_near(self._mark, self._behind)


class SoundStream:
    """A stream that is being decoded, by whoever asks for its blocks; it is closed behind the last one.

    Args:
        container: of FFmpeg; closed where there is no sound in it.
        where: its name in errors.
        pipe: what it is read from, but for an address.
        repaired: the same where damage is taken out.

    Attributes:
        sampling_rate, channels: of all of it, in Hz.

    Raises:
        AudioError: it is damaged, or has no sound.
    """

    def __init__(
        self, container: InputContainer, where: str, pipe: _Pipe | None = None, repaired: RepairedStream | None = None
    ) -> None:
        self._container, self._where, self._pipe, self._repaired = container, where, pipe, repaired
        self._reading = Reading(where)
        self._blocks = self._decode()
        try:
            first = next(self._blocks, None)
            if first is None:
                raise AudioError("no sound in it", where=where)
        except av.FFmpegError as error:
            container.close()
            raise AudioError("damaged, or no sound", where=where, found=_told(error)) from error
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
            raise AudioError("the stream breaks off", where=self._where, found=_told(error)) from error
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
        for packet in self._packets(stream):
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
                    heard, is_damaged = mended(block)
                    if is_damaged:
                        self._tell_damage(timeline.seconds, heard)
                    yield from timeline.place(heard, frame.time)
        yield from timeline.finish()
        if self._repaired is not None and self._repaired.n_damaged > 0:
            self._reading.note("damaged", f"{self._repaired.n_damaged} bytes of it are damaged, and left out")
        if self._pipe is not None and self._pipe.has_second:
            self._reading.note("joined", "a second recording follows, and is not heard")

    def _packets(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """The packets of a stream, past those of others that begin later and that PyAV does not know."""
        n_faults = 0
        while True:
            try:
                for packet in self._container.demux(stream):
                    n_faults = 0
                    yield packet
                return
            except IndexError:  # a stream that the header did not tell of, as pictures in flv
                continue
            except av.BlockingIOError:  # mpegts: no packet was found for a while
                n_faults += 1
                if n_faults > _MOST_FAULTS:
                    raise
            except av.FFmpegError as error:
                if error.errno == errno.EIO and self._container.size < 0:
                    return  # FFmpeg's word for the end of what a server sends without telling how long it is
                raise

    def _tell_damage(self, start: float, block: Block) -> None:
        end = start + len(block.samples) / block.sampling_rate
        self._reading.warn("damaged", start, end, "what was decoded is no sound, taken for silence")


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
    repaired = RepairedStream(pipe.read, MATROSKA, without_size) if container == "matroska" else None
    try:
        opened = av.open(repaired or pipe, "r", container, _EAGER, metadata_errors="replace", buffer_size=HEAD)
    except av.FFmpegError as error:
        raise AudioError("damaged, or no sound", where=where, found=_told(error)) from error
    return SoundStream(opened, where, pipe, repaired)


def addressed_stream(url: str, where: str) -> SoundStream:
    """A stream at an address that FFmpeg knows (http, rtsp, udp, srt and others).

    Raises:
        AudioError: it can't be reached, or is nothing that is known as sound.
    """
    try:
        opened = av.open(url, "r", metadata_errors="replace", timeout=_TIMEOUT)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError("the stream can't be opened", where=where, found=_told(error)) from error
    return SoundStream(opened, where)


def _told(error: Exception) -> str:
    """What FFmpeg says of an error; all of its text would have all of the address, with passwords."""
    return getattr(error, "strerror", None) or type(error).__name__
