"""Streams in ogg, page by page: what a page holds ends at the time that it tells, whatever was lost before it.

RFC 3533 (Ogg), RFC 7845 (Opus in it), "Vorbis I specification", appendix A (Vorbis in it).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import av
import numpy as np

from whisper_max.audio.block import Block, mended
from whisper_max.audio.formats.codecs import create_decoder
from whisper_max.audio.formats.containers import Frames
from whisper_max.audio.formats.ogg import Link, Page, find_lost_end, read_pages, tell_cut
from whisper_max.audio.formats.ogg_codecs import Codec, codec_of, set_up
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_LONGEST_PAGE = 10.0  # seconds that a page may tell it has


def link_codec(link: Link) -> Codec | None:
    """The codec of a recording that is one stream; None for others, and for codecs that are not read here."""
    if len(link.heads) != 1 or not link.heads[0].segments:
        return None
    return codec_of(link.heads[0].segments[0])


def decode_link(file: FileIO, link: Link, codec: Codec, reading: Reading, timeline: Timeline) -> Iterator[Block]:
    """The blocks of such a recording.

    Raises:
        AudioError: its headers are damaged.
    """
    stream = _Stream(codec, reading, timeline)
    serial = link.heads[0].serial
    pages = (page for page in read_pages(file, link.span, reading) if page is not None and page.serial == serial)
    last: Page | None = None
    for page, following in pairwise(chain(pages, [None])):
        if page is not None:
            last = page
            yield from stream.add(page, is_last=following is None)
    lost_end = find_lost_end(file, link, last) if link.is_cut and last is not None else None
    if lost_end is not None:
        yield from stream.end(*lost_end)
    elif link.is_cut:
        tell_cut(reading, timeline.seconds)
    yield from timeline.finish()


class _Stream:
    """The pages of a stream as they come.

    Args:
        codec: what its first packet tells.
        reading: where it is told what is lost.
        timeline: of the file.
    """

    def __init__(self, codec: Codec, reading: Reading, timeline: Timeline) -> None:
        self._codec, self._reading, self._timeline = codec, reading, timeline
        self._headers: list[bytes] = []
        self._decoder: AudioCodecContext | None = None
        self._frames: Frames | None = None
        self._part = b""  # of a packet that goes on on the next page
        self._number: int | None = None  # of the last page
        self._is_damaged = False  # since the last sound
        self._skip = 0  # samples to leave out at the start
        self._at: int | None = None  # granule at the end of the last sound
        self._like: Block | None = None  # without samples, but as those that have some

    def add(self, page: Page, *, is_last: bool) -> Iterator[Block]:
        """The sound of the packets that end on a page."""
        if self._number is not None and page.number != self._number + 1:
            self._is_damaged, self._part = True, b""
            if self._decoder is not None:
                self._decoder.flush_buffers()
        self._number = page.number
        blocks = [block for packet in self._packets(page) for block in self._decode(packet)]
        if blocks:
            yield from self._place(blocks, page, is_last)

    def end(self, granule: int, is_whole: bool) -> Iterator[Block]:
        """Silence for a last page that is damaged; where it is cut off, it is told to when there was sound.

        Args:
            granule: at its end.
            is_whole: all its bytes are there.
        """
        now, like = self._timeline.seconds, self._like
        lost = 0.0 if like is None or self._at is None else (granule - self._at) / like.sampling_rate
        if like is not None and is_whole and 0 < lost < _LONGEST_PAGE:
            yield from self._timeline.place(like, granule / like.sampling_rate, is_damaged=True)
            return
        tell_cut(self._reading, now, now + lost if 0 < lost < _LONGEST_PAGE else None)

    def _packets(self, page: Page) -> Iterator[bytes]:
        for index, (content, ends) in enumerate(page.packets()):
            if index == 0 and page.is_continued:
                content, self._part = self._part + content if self._part else b"", b""
            if not ends:
                self._part = content
            elif content:
                yield content

    def _decode(self, packet: bytes) -> Iterator[Block]:
        if self._decoder is None or self._frames is None:
            self._headers.append(packet)
            if len(self._headers) == self._codec.n_headers:
                self._open()
            return
        try:
            frames = self._decoder.decode(av.Packet(packet))
        except av.FFmpegError:
            self._is_damaged = True
            return
        for frame in frames:
            yield from self._frames.blocks(frame)

    def _open(self) -> None:
        """Open the decoder with the headers.

        Raises:
            AudioError: they are damaged.
        """
        decoder = create_decoder(self._codec.name)
        decoder.extradata, self._skip = set_up(self._codec, self._headers)
        try:
            decoder.open()
        except av.FFmpegError as error:
            found = f"headers of {self._codec.name} that can't be read"
            raise AudioError("damaged", where=self._reading.where, found=found) from error
        self._decoder, self._frames = decoder, Frames(decoder, self._reading.where)

    def _place(self, blocks: list[Block], page: Page, is_last: bool) -> Iterator[Block]:
        """Blocks at the time that the page tells.

        Vorbis and Opus both have samples before the time 0 of the first page, and behind the end of the last one.
        """
        block = blocks[0]._replace(samples=np.concatenate([block.samples for block in blocks]))
        n, rate = len(block.samples), block.sampling_rate
        self._like = block._replace(samples=block.samples[:0])
        start = None if page.granule is None else page.granule - n
        if self._at is None:  # the first sound: of a stream that was joined midway, its time is 0
            begin = 0 if start is None or self._is_damaged else max(0, start)
            self._timeline.begin((begin + self._skip) / rate)
            self._at = begin if start is None or is_last or self._is_damaged else min(start, begin)
            self._skip += begin
        if start is not None and is_last and start < self._at and not self._is_damaged:
            block = block._replace(samples=block.samples[: max(0, n + start - self._at)])
            start = self._at
        if start is None:
            start = self._at
        self._at = start + n
        n_early = min(max(0, self._skip - start), len(block.samples))
        if n_early:
            block, start = block._replace(samples=block.samples[n_early:]), start + n_early
        if len(block.samples):
            block, is_mended = mended(block)
            yield from self._timeline.place(block, start / rate, is_damaged=self._is_damaged)
            self._is_damaged = False
            if is_mended:
                now = self._timeline.seconds
                self._reading.warn("damaged", now - len(block.samples) / rate, now, "damaged")
