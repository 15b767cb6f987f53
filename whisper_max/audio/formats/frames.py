"""Files that are frames in a row (mp3, aac in ADTS): each frame is decoded by itself, and what is lost is counted.

Frames of one kind make up a recording; several do where files were joined. Bytes between frames that are none are as
many lost frames as they would fill or, where a header counts frames, as there are less than that.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from math import inf
from typing import NamedTuple

import av

from whisper_max.audio.block import Block, mended
from whisper_max.audio.formats.codecs import create_decoder
from whisper_max.audio.formats.containers import Frames
from whisper_max.audio.formats.frame_walk import Info, Kind, Rest, Syntax, count_rest, damaged, walk
from whisper_max.audio.pieces import count_nonzero
from whisper_max.audio.reading import CONVERT_HINT, Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import AudioError

_MOST_JUNK = 1728  # bytes of the largest frame of mp3: recordings of a stream begin and end within one
_MOST_STRAY = 8  # bytes between two frames that no frame was
_MOST_UNSEEN = 100  # frames of which nothing is left, where the header counts them


class _Junk(NamedTuple):
    """Bytes that are neither frames nor tags, and how many of them are not zero."""

    n_bytes: int
    n_nonzero: int


def decode(file: FileIO, syntax: Syntax, reading: Reading, timeline: Timeline) -> Iterator[Block]:
    """The blocks of a file of frames, recording by recording.

    Raises:
        AudioError: it has no frames, or too much else; where the reading is strict, a recording has less frames than
            its header declares, or other bytes between its frames.
    """
    recording: _Recording | None = None
    n_frames = 0
    junk = _Junk(0, 0)
    is_cut = False
    for found in walk(file, syntax, reading):
        if found.frame is None:
            junk = _Junk(junk.n_bytes + len(found.span), junk.n_nonzero + _nonzero(file, found.span))
            continue
        if found.is_cut:
            is_cut = True
            continue
        if recording is None or found.info is not None or recording.kind != found.frame.kind:
            if recording is not None:
                yield from recording.end(junk)
            recording = _Recording(found.frame.kind, found.info, syntax, reading, timeline)
        elif junk.n_bytes > 0:
            recording.lose(junk, partial(count_rest, file, syntax, reading, found.span.start))
        junk = _Junk(0, 0)
        if found.info is None:
            n_frames += 1
            yield from recording.add(os.pread(file.fileno(), len(found.span), found.span.start))
    if recording is not None:
        yield from recording.end(junk, is_cut=is_cut)
    if n_frames == 0:
        raise AudioError(
            "damaged or truncated",
            where=reading.where,
            expected=f"frames of {syntax.name}",
            found="none",
            hint=CONVERT_HINT,
        )


class _Held(NamedTuple):
    """Sound that may be behind the end, by what the header tells of that. start: seconds. is_damaged: behind damage."""

    start: float
    block: Block
    is_damaged: bool
    is_meant: bool  # behind silence by the recording's own account


class _Recording:
    """Frames that one decoder decodes in a row.

    Args:
        kind: what they have in common.
        info: what stands before them, if anything.
        syntax: of the format.
        reading: where it is told what is lost.
        timeline: of the file.
    """

    def __init__(self, kind: Kind, info: Info | None, syntax: Syntax, reading: Reading, timeline: Timeline) -> None:
        self.kind = kind
        self._info = info or Info(None)
        self._syntax, self._reading, self._timeline = syntax, reading, timeline
        self._decoder = create_decoder(kind.codec)
        self._frames = Frames(self._decoder, reading.where)
        self._skip = self._info.skip
        self._held: deque[_Held] = deque()
        self._n_frames = self._n_bytes = self._n_lost = self._n_junk = 0
        self._bytes_lost, self._frames_lost = 0, 0.0  # in all of it; 0 until there are any
        self._is_damaged = self._is_silent = False  # since the last sound
        timeline.begin(0.0, inf)  # time is as long as there are bytes

    def lose(self, junk: _Junk, look_ahead: Callable[[], Rest]) -> None:
        """Take bytes between two of its frames that are none.

        As many frames are lost as would fill them or, where the header counts frames, as there are less than that.
        """
        self._n_junk += junk.n_nonzero
        if self._n_frames == 0 or self._reading.strict:
            return
        if self._bytes_lost == 0:  # the first ones
            self._count(junk, look_ahead())
        n_lost = round(junk.n_bytes * self._frames_lost / self._bytes_lost)
        if n_lost == 0 and junk.n_nonzero > min(_MOST_STRAY, self._n_bytes / self._n_frames / 8):
            now = self._timeline.seconds
            self._reading.warn("damaged", now, now, f"{junk.n_bytes} bytes here are none of a frame")
        self._n_lost += n_lost
        self._is_damaged = True
        self._decoder.flush_buffers()

    def _count(self, junk: _Junk, rest: Rest) -> None:
        """Find how many frames all bytes that are none stand for."""
        self._bytes_lost = junk.n_bytes + rest.n_junk
        self._frames_lost = self._bytes_lost * self._n_frames / self._n_bytes
        if self._info.n_frames is not None and not rest.is_cut:
            less = self._info.n_frames - self._n_frames - rest.n_frames
            if 0 <= less <= 2 * self._frames_lost + _MOST_UNSEEN:
                self._frames_lost = float(less)

    def add(self, content: bytes) -> Iterator[Block]:
        """Take the next frame."""
        at = (self._n_frames + self._n_lost) * self.kind.n_samples - self._skip  # its first sample
        self._n_frames += 1
        self._n_bytes += len(content)
        try:
            frames = self._decoder.decode(av.Packet(content))
        except av.FFmpegError:
            is_silent = len(content) <= self._syntax.silent
            self._is_silent, self._is_damaged = self._is_silent or is_silent, self._is_damaged or not is_silent
            return
        for frame in frames:
            for block in self._frames.blocks(frame):
                samples = block.samples[max(0, -at) :]
                if len(samples) > 0:
                    start = max(0, at) / self.kind.rate
                    is_meant = self._is_silent and not self._is_damaged
                    self._held.append(_Held(start, block._replace(samples=samples), self._is_damaged, is_meant))
                    self._is_damaged = self._is_silent = False
        while len(self._held) * self.kind.n_samples > self._info.padding + self.kind.n_samples:
            yield from self._place(self._held.popleft())

    def end(self, junk: _Junk, *, is_cut: bool = False) -> Iterator[Block]:
        """Give out the rest, behind which these bytes stand, or only the begin of a frame."""
        self._n_junk += junk.n_nonzero
        n_frames, declared = self._n_frames + self._n_lost, self._info.n_frames
        if declared == n_frames and self._held:
            self._trim()
        for held in self._held:
            yield from self._place(held)
        yield from self._timeline.finish()
        self._tell_end(n_frames)
        if self._reading.strict and self._n_junk > _MOST_JUNK and declared != self._n_frames:
            raise damaged(self._n_junk, self._syntax, self._reading.where)
        if declared is None and is_cut and not self._reading.strict:
            now = self._timeline.seconds
            self._reading.warn("truncated", now, now + self.kind.n_samples / self.kind.rate, "cut off within a frame")
        if declared is not None and declared > n_frames:
            now = self._timeline.seconds
            missing = (declared - n_frames) * self.kind.n_samples / self.kind.rate
            expected = f"{declared} frames"
            self._reading.warn("truncated", now, now + missing, "truncated", expected=expected, found=f"{n_frames}")

    def _trim(self) -> None:
        """Leave out what the encoder put behind the end."""
        left = self._info.padding
        while left > 0 and self._held:
            last = self._held.pop()
            samples = last.block.samples[: max(0, len(last.block.samples) - left)]
            left -= len(last.block.samples)
            if len(samples) > 0:
                self._held.append(last._replace(block=last.block._replace(samples=samples)))

    def _tell_end(self, n_frames: int) -> None:
        """Tell of the last frames where they can't be decoded."""
        now, n_samples = self._timeline.seconds, n_frames * self.kind.n_samples - self._skip - self._info.padding
        missing = n_samples / self.kind.rate - self._timeline.clock
        if self._is_damaged and missing > 0:
            self._reading.warn("damaged", now, now + missing, "damaged")

    def _place(self, held: _Held) -> Iterator[Block]:
        block, is_mended = mended(held.block)
        damaged, meant = held.is_damaged, held.is_meant
        yield from self._timeline.place(block, held.start, is_damaged=damaged, is_meant=meant)
        if is_mended:
            now = self._timeline.seconds
            self._reading.warn("damaged", now - len(block.samples) / block.sampling_rate, now, "damaged")


def _nonzero(file: FileIO, junk: range) -> int:
    return count_nonzero(file, junk.start, junk.stop)
