"""Files of frames, by FFmpeg's libraries (PyAV): every packet that plays, at its time.

A packet that can't be decoded is lost alone. Its time is known by the time stamps around it or, in a raw stream that
has none, by its bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import av

from whisper_max.audio.block import Block, mended
from whisper_max.audio.formats.avi import AviClock, without_bad_index
from whisper_max.audio.formats.codecs import stream_decoder
from whisper_max.audio.formats.containers import Frames, open_container
from whisper_max.audio.formats.elements import repair_elements
from whisper_max.audio.formats.endings import Ending
from whisper_max.audio.formats.repair import Repaired
from whisper_max.audio.formats.tracks import Track, choose_track
from whisper_max.audio.pieces import Pieces
from whisper_max.audio.reading import CONVERT_HINT, Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.audio import AudioFrame, AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_RAW = frozenset({"ac3", "eac3", "dts", "dtshd", "truehd", "mlp", "loas", "amr", "amrnb", "amrwb"})
_CHECKED = frozenset({"flac", "tta", "wavpack"})  # codecs whose decoders are to refuse what a checksum refutes
_CHECKS = {"err_detect": "crccheck+explode"}
# Codecs of which no packet is all zeros, as it is in the hole of a download; decoders may make any sound of that.
_NEVER_ZERO = frozenset(
    ("aac", "ac3", "amrnb", "amrwb", "eac3", "libopus", "mp2float", "mp3float", "opus", "speex", "vorbis", "wmav2")
)
_AVI_HEAD = 12  # bytes by which an avi file is known
_SMALLEST = 2  # bytes of a packet that may be zeros
_SHORTFALL = 0.1  # seconds that may be decoded less than a header tells, for codec delay and rounding
_NO_SOUND = 7  # bytes of a frame of AMR without data, or with a description of silence (3GPP TS 26.101, 26.201)
_LONG_DELAY = 1.0  # seconds of packets that no decoder waits for before it gives sound
_MOST_FAULTS = 1000  # of the demuxer without a packet between them
_BEHIND_DAMAGE = 1.0  # seconds in which time stamps may come to tell what was lost


def decode_media(
    source: Pieces, reading: Reading, timeline: Timeline, by_frames: Callable[[str, str], Iterator[Block] | None]
) -> Iterator[Block]:
    """The blocks of one audio track.

    Args:
        source: the file.
        reading: how it is read.
        timeline: of the recording.
        by_frames: the blocks of a file in a format with a codec, by FFmpeg's names, where it is better read otherwise.

    Raises:
        AudioError: it can't be opened, has no audio track, or nothing of it can be decoded.
    """
    head = source.peek(0, _AVI_HEAD)
    is_avi = head.startswith(b"RIFF") and head.endswith(b"AVI ")
    repaired = repair_elements(without_bad_index(source, reading) if is_avi else source, reading)
    with open_container(repaired.source, reading.where) as container:
        track = choose_track(container, reading)
        blocks = by_frames(container.format.name, track.stream.codec_context.name)
        yield from blocks or _Decoding(repaired, container, track, reading, timeline).blocks()


class _Decoding:
    """One track on its way."""

    def __init__(
        self, repaired: Repaired, container: InputContainer, track: Track, reading: Reading, timeline: Timeline
    ) -> None:
        stream = track.stream
        names = set(container.format.name.split(","))
        self._container, self._stream, self._reading, self._timeline = container, stream, reading, timeline
        self._damage = deque(repaired.behind)
        self._end = Ending(repaired, container, stream)
        self._avi = AviClock(repaired.source, stream) if "avi" in names else None
        self._decoder = stream_decoder(stream, reading.where)
        self._frames = Frames(self._decoder, reading.where, track.layout)
        self._is_raw = bool(names & _RAW)
        self._is_flac = self._decoder.name == "flac"
        self._is_pcm = self._decoder.name.startswith("pcm")  # that holds no sound is the writer's fault, not damage
        self._mean_bytes = _Mean()
        self._is_amr = self._decoder.name.startswith("amr")
        self._damaged_for = 0.0  # seconds of sound in which what is missing is so by damage
        self._is_silent = False  # since the last frame, where frames say that nobody spoke
        self._lost, self._n_lost = 0.0, 0  # seconds of packets since the last frame, and how many
        self._mute = 0.0  # the same of those that were taken without an error, and gave nothing
        if self._decoder.name in _CHECKED:
            self._decoder.options = dict(_CHECKS)

    def blocks(self) -> Iterator[Block]:
        """All that can be decoded, and silence between."""
        declared = self._avi.end if self._avi is not None else self._end.declared
        has_packets = has_sound = False
        for packet in self._packets():
            self._reading.watch()
            is_behind = self._find_damage(packet)
            if not has_packets:
                self._begin(declared, is_behind)
            has_packets = has_packets or packet.size > 0
            for frame in self._decode(packet):
                for found in self._frames.blocks(frame):
                    block, is_mended = (found, False) if self._is_pcm else mended(found)
                    yield from self._place(block, self._time(frame))
                    if frame.is_corrupt or is_mended:
                        begin = self._timeline.seconds - len(block.samples) / block.sampling_rate
                        self._reading.warn("damaged", begin, self._timeline.seconds, "damaged")
                    has_sound = True
        yield from self._timeline.finish()
        if not has_sound and (not has_packets or self._damaged_for > 0):
            raise AudioError("damaged or truncated", where=self._reading.where, found="0.00 s", hint=CONVERT_HINT)
        self._check_end(declared)

    def _begin(self, declared: float | None, is_behind: bool) -> None:
        """Set the clock by what is known before the first packet, which may be behind damage.

        Then sound is lost before it, and its time stamp tells how much: a clock that begins late has no such place, or
        is that of a stream which began long ago.
        """
        origin, end = _origin(self._container, self._stream), None if self._end.is_guess else declared
        if is_behind and origin is not None and declared is not None and 0 < 2 * origin < declared:
            origin = 0.0
        self._timeline.begin(origin, end, is_last=end is not None and self._end.is_firm)

    def _find_damage(self, packet: Packet[AudioStream]) -> bool:
        """Note what is damaged before a packet; True where elements of the file are."""
        n_places = len(self._damage)
        self._end.seen(packet)
        while self._damage and packet.pos is not None and packet.pos >= self._damage[0]:
            self._damage.popleft()
            self._damaged_for = _BEHIND_DAMAGE
        if self._avi is not None:
            before = self._avi.lost
            if self._avi.find(packet, self._timeline.seconds):
                self._damaged_for = _BEHIND_DAMAGE
            if not self._avi.is_true:
                self._lost += self._avi.lost - before
        return len(self._damage) < n_places

    def _time(self, frame: AudioFrame) -> float | None:
        """The time stamp of a frame; None where there is none to believe."""
        if self._is_raw or (self._avi is not None and not self._avi.is_true):
            return None
        return frame.time if frame.time is None or self._avi is None else frame.time + self._avi.lost

    def _place(self, block: Block, start: float | None) -> Iterator[Block]:
        is_damaged = self._damaged_for > 0 or self._is_flac  # whose time stamps are exact
        is_meant = self._is_silent and self._damaged_for == 0
        yield from self._timeline.place(block, start, lost=self._lost, is_damaged=is_damaged, is_meant=is_meant)
        self._lost, self._n_lost, self._is_silent = 0.0, 0, False
        seconds = len(block.samples) / block.sampling_rate
        self._damaged_for = 0.0 if self._is_raw else max(0.0, self._damaged_for - seconds)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Packets as long as the demuxer finds one; behind the last one, one that is empty."""
        n_faults = 0
        while n_faults < _MOST_FAULTS:
            try:
                for packet in self._container.demux(self._stream):
                    n_faults = 0
                    yield packet
            except av.error.EOFError:
                return
            except (av.FFmpegError, IndexError):  # IndexError: PyAV's, of a stream that began in what is damaged
                self._damaged_for = _BEHIND_DAMAGE
                n_faults += 1
                self._reading.watch()
            else:
                return

    def _decode(self, packet: Packet[AudioStream]) -> list[AudioFrame]:
        """The frames of a packet; none where it is damaged."""
        frames: list[AudioFrame] = []
        is_lost = self._decoder.name in _NEVER_ZERO and packet.size > _SMALLEST and not any(bytes(packet))
        if not is_lost:
            try:
                frames = self._decoder.decode(packet)
            except av.FFmpegError:
                is_lost = True
            else:
                is_lost = self._is_flac and not frames  # its decoder leaves out what a checksum refutes, without a word
        if is_lost and packet.size > 0:
            seconds = float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0
            if self._is_amr and packet.size <= _NO_SOUND:
                self._is_silent = True
            else:
                self._damaged_for = _BEHIND_DAMAGE
            self._n_lost += 1
            self._lost += seconds * (self._mean_bytes.ratio(packet.size) if self._is_raw else 1)
        elif frames:
            self._mean_bytes.add(packet.size)
            self._mute = 0.0
        elif packet.size > 0 and packet.duration and packet.time_base:
            self._mute += float(packet.duration * packet.time_base)
        return frames

    def _check_end(self, declared: float | None) -> None:
        now = self._timeline.seconds
        missing = 0.0 if declared is None else declared - self._timeline.clock
        if missing > _SHORTFALL:
            expected, found = f"{now + missing:.2f} s", f"{now:.2f} s"
            self._reading.warn("truncated", now, now + missing, "truncated", expected=expected, found=found)
        elif self._mute > _LONG_DELAY:
            self._reading.warn("damaged", now, now + self._mute, "no sound comes of what is here")
        elif self._n_lost and self._damaged_for > 0:
            self._reading.warn("damaged", now, now + self._lost, "damaged or truncated")
        elif self._end.is_cut():
            self._reading.warn("truncated", now, now, "cut off", found="no end")
        elif self._end.n_unread() > 0:
            what = f"{self._end.n_unread()} bytes from here can't be read"
            self._reading.warn("damaged", now, now, what)


class _Mean:
    """Mean size of packets, in bytes."""

    def __init__(self) -> None:
        self._n_bytes = self._n_packets = 0

    def add(self, n_bytes: int) -> None:
        """One packet more."""
        self._n_bytes += n_bytes
        self._n_packets += 1

    def ratio(self, n_bytes: int) -> int:
        """How many packets so many bytes are, at least 1."""
        return max(1, round(n_bytes * self._n_packets / self._n_bytes)) if self._n_packets else 1


def _origin(container: InputContainer, stream: AudioStream) -> float | None:
    """The time stamp at which the recording begins: that of the picture where it is earlier; None if not known."""
    if stream.start_time is None or stream.time_base is None:
        return None
    pictures = [
        float(video.start_time * video.time_base)
        for video in container.streams.video
        if video.start_time is not None and video.time_base is not None and not _is_cover(video)
    ]
    return min([float(stream.start_time * stream.time_base), *pictures])


def _is_cover(video: av.VideoStream) -> bool:
    """True for the picture of an album."""
    return bool(video.disposition & av.stream.Disposition.attached_pic)
