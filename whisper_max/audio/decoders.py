"""From the bytes of an audio file to blocks of samples, at the file's own rate and channels.

libsndfile (soundfile) reads files of samples, such as wav; FFmpeg's libraries (PyAV) decode those of frames or packets,
such as mp3, flac, ogg, mp4 and webm, each packet by itself, so that a damaged one costs nothing but its own time. What
plays is given out in its place in time; silence stands where something is missing, and every such place is told. Files
joined into one are read one after the other (mp3, flac, ogg) or refused (wav and its kin, mp4). One case can't be told
from a whole file: a raw stream that is cut, such as an mp3 without a Xing or Info header, which nowhere says how long
it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO

from whisper_max.audio.block import Block, gather
from whisper_max.audio.formats import flac, frame_walk, frames, ogg, xiph
from whisper_max.audio.formats.ac3 import AC3
from whisper_max.audio.formats.adts import ADTS
from whisper_max.audio.formats.amr import AMR, AMR_WIDE
from whisper_max.audio.formats.chunks import Size, find_size
from whisper_max.audio.formats.dts import DTS
from whisper_max.audio.formats.joined import check_not_joined
from whisper_max.audio.formats.lists import check_no_list
from whisper_max.audio.formats.media import decode_media
from whisper_max.audio.formats.mp3 import MP3
from whisper_max.audio.formats.samples import decode_samples, open_samples, tell_size
from whisper_max.audio.formats.tags import leading_tags
from whisper_max.audio.formats.tracks import check_single
from whisper_max.audio.pieces import Piece, Pieces
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import AudioError

# Frames behind a header or other bytes, by FFmpeg's names of format and codec, which loses count of damaged ones.
_BEHIND_OTHERS = {
    ("mp3", "mp3float"): MP3,
    ("mp3", "mp2float"): MP3,
    ("wav", "mp3float"): MP3,
    ("ac3", "ac3"): AC3,
    ("amr", "amrnb"): AMR,
    ("amr", "amrwb"): AMR_WIDE,
}


def decode(file: FileIO, reading: Reading) -> Iterator[Block]:
    """Blocks of a seekable audio file, from its start, as they are decoded.

    Args:
        file: a regular file, opened unbuffered for reading; it is not closed here.
        reading: how it is to be read; what is found wrong is told there.

    Raises:
        AudioError: empty, a list of recordings, not audio, or nothing in it can be decoded; where ``reading`` is
            strict, anything wrong.
        OptionError: the track that is wanted is not there.
    """
    n_bytes = file.seek(0, os.SEEK_END)
    if n_bytes == 0:
        raise AudioError("empty file", where=reading.where, expected="audio", found="0 bytes")
    check_no_list(file, reading.where)
    check_not_joined(file, reading)
    yield from gather(_decode(file, n_bytes, reading, Timeline(reading)))


def _decode(file: FileIO, n_bytes: int, reading: Reading, timeline: Timeline) -> Iterator[Block]:
    for syntax in (MP3, ADTS, AC3, DTS):
        if frame_walk.begins(file, syntax, reading):
            check_single(reading)
            yield from frames.decode(file, syntax, reading, timeline)
            return
    parts = _find_parts(file, reading, timeline)
    if parts:
        yield from _decode_parts(parts, reading, timeline)
        return
    begin = leading_tags(file)
    if begin > 0:  # before a format that has none there, as some programs tag all files alike
        yield from _of_media(file, [range(begin, n_bytes)], reading, timeline)
        return
    size = find_size(file, reading)
    pieces = _corrected(size, n_bytes)
    sound = open_samples(Pieces(file, pieces) if len(pieces) > 1 else file)
    if sound is None:
        yield from _of_media(file, pieces, reading, timeline, size)
        return
    check_single(reading)
    with sound:
        yield from decode_samples(sound, file, size, reading, timeline)


def _corrected(size: Size | None, n_bytes: int) -> list[Piece]:
    """The bytes of a file with the right size of its samples, all of which follow on that."""
    if size is None or not size.right:
        return [range(n_bytes)]
    rest = [range(size.at.stop, size.end), *size.others] if size.others else [range(size.at.stop, n_bytes)]
    return [range(size.at.start), size.right, *rest]


def _find_parts(file: FileIO, reading: Reading, timeline: Timeline) -> list[tuple[range, Iterator[Block]]]:
    """The recordings of an ogg or flac file: their bytes, and what decodes them."""
    links = ogg.find_links(file, reading)
    if not links:
        return [(span, _of_media(file, [span], reading, timeline)) for span in flac.find_recordings(file, reading)]
    return [(link.span, _of_link(file, link, reading, timeline)) for link in links]


def _of_link(file: FileIO, link: ogg.Link, reading: Reading, timeline: Timeline) -> Iterator[Block]:
    codec = xiph.link_codec(link)
    if codec is not None:
        check_single(reading)
        yield from xiph.decode_link(file, link, codec, reading, timeline)
        return
    yield from _of_media(file, [link.span], reading, timeline)
    now, found = timeline.seconds, [warning for warning in reading.warnings if warning.kind != "tracks"]
    if link.is_cut:
        ogg.tell_cut(reading, now)
    elif link.is_damaged and not found:  # FFmpeg passes over pages without a word, of whatever stream
        reading.warn("damaged", now, now, "pages before here are damaged, of sound or of what is beside it")


def _of_media(
    file: FileIO, pieces: list[Piece], reading: Reading, timeline: Timeline, size: Size | None = None
) -> Iterator[Block]:
    reads_all = False  # whatever the header declares

    def by_frames(format: str, codec: str) -> Iterator[Block] | None:
        nonlocal reads_all
        syntax = _BEHIND_OTHERS.get((format, codec))
        if syntax is None or not frame_walk.follow(file, syntax, reading):
            return None
        reads_all = True
        return frames.decode(file, syntax, reading, timeline)

    yield from decode_media(Pieces(file, pieces, reading.watch), reading, timeline, by_frames)
    if size is not None and not reads_all:
        tell_size(size, timeline.seconds, timeline.seconds / max(size.present, 1), reading)


def _decode_parts(parts: list[tuple[range, Iterator[Block]]], reading: Reading, timeline: Timeline) -> Iterator[Block]:
    """One recording after the other; what can't be decoded is told, and an error where nothing can."""
    failed: AudioError | None = None
    for span, blocks in parts:
        try:
            yield from blocks
        except AudioError as error:
            if reading.strict:
                raise
            failed = error
            now = timeline.seconds
            reading.warn("damaged", now, now, f"{len(span)} bytes from here can't be decoded")
    if failed is not None and timeline.seconds == 0:
        raise failed
