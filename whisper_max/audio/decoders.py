"""From the bytes of an audio file to blocks of samples, at the file's own rate and channels.

libsndfile (soundfile) reads wav, flac, ogg, opus, mp3 and its other formats; what it doesn't know goes to FFmpeg's
libraries (PyAV, the extra ``media``). A file that ends before its own header says so is an error, never a short
transcript; so is a wav file that holds more than its header says, except where the size is one that programs leave
which write to a pipe: then it is read to its end. One case can't be told from a whole file: an mp3 without a Xing/Info
header or a raw .aac stream, which nowhere say how long they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import FileIO
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_max.audio.wav import WavToItsEnd, find_missing_size
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.container import InputContainer

_BLOCK_FRAMES = 1 << 16

_SYSTEM_ERROR, _MALFORMED_FILE = 2, 3  # SF_ERR_* of sndfile.h
_CONVERT_HINT = "get the whole file, or convert what is there to wav"

# Lines of libsndfile's log where a size in the header disagrees with the file; wav, aiff, au, w64 and rf64.
_SIZE_MISMATCH = re.compile(r"^\s*(data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFFF000  # writers that can't seek back (pipes) put this or more where the size belongs

_MAX_CHANNELS = 64  # a block of more would take much memory, and no recording has them
_UNKNOWN_FRAMES = 2**63 - 1  # SF_COUNT_MAX
_RAW_FORMATS = ("W64", "RF64", "AIFF", "AU")
_LARGE_HEADER = 4096  # bytes; a raw format without samples is smaller than that
_MP3_HEADER_REACH = 256  # bytes of the first mp3 frame in which its Xing, Info or VBRI header begins
_MEDIA_SHORTFALL = 0.25  # seconds that FFmpeg may decode less than a container says, for codec delay and rounding


class Block(NamedTuple):
    """Decoded audio: ``samples`` (n_frames, n_channels) float32 at ``sampling_rate`` Hz."""

    sampling_rate: int
    samples: NDArray[np.float32]


def decode(file: FileIO, where: str) -> Iterator[Block]:
    """Blocks of a seekable audio file, from its start, as they are decoded.

    Args:
        file: a regular file, opened unbuffered for reading; it is not closed here.
        where: its name in errors.

    Raises:
        AudioError: empty, not audio, damaged or truncated, or in a format that needs the extra ``media``.
    """
    if file.seek(0, os.SEEK_END) == 0:
        raise AudioError("empty file", where=where, expected="audio", found="0 bytes")
    _check_ogg_is_whole(file, where)
    sound = _open_sound(file, where)
    if sound is None:
        file.seek(0)
        yield from _decode_media(file, where)
    else:
        with sound:
            yield from _decode_sound(sound, file, where)


def _open_sound(file: FileIO, where: str) -> soundfile.SoundFile | None:
    """The file in libsndfile; None where it is to be tried with FFmpeg."""
    size_at = find_missing_size(file, where)
    file.seek(0)
    try:
        if size_at is None:
            sound = soundfile.SoundFile(file.fileno(), closefd=False)
        else:
            sound = soundfile.SoundFile(WavToItsEnd(file, size_at))
    except soundfile.LibsndfileError as error:
        if error.code in (_SYSTEM_ERROR, _MALFORMED_FILE):
            raise AudioError("damaged or truncated", where=where, found=error.error_string) from error
        return None
    if sound.frames == _UNKNOWN_FRAMES:  # flac written to a pipe: libsndfile opens it, but can't read it
        sound.close()
        return None
    return sound


def _decode_sound(sound: soundfile.SoundFile, file: FileIO, where: str) -> Iterator[Block]:
    n_bytes = os.fstat(file.fileno()).st_size
    if sound.channels > _MAX_CHANNELS:
        raise AudioError("too many channels", where=where, expected=f"at most {_MAX_CHANNELS}", found=sound.channels)
    if sound.frames == 0 and sound.format in _RAW_FORMATS and n_bytes > _LARGE_HEADER:
        raise AudioError("no samples by its header", where=where, found=f"a file of {n_bytes} bytes")
    _check_sizes(sound.extra_info, where)
    expected_frames = sound.frames if _says_its_length(sound, file) else 0
    n_read = 0
    while True:
        try:
            samples = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                "damaged or truncated",
                where=where,
                expected=_seconds(sound.frames, sound.samplerate),
                found=f"{error.error_string} after {_seconds(n_read, sound.samplerate)}",
                hint=_CONVERT_HINT,
            ) from error
        if len(samples) == 0:
            break
        n_read += len(samples)
        yield Block(sound.samplerate, samples)
    if n_read < expected_frames:
        raise AudioError(
            "truncated",
            where=where,
            expected=_seconds(sound.frames, sound.samplerate),
            found=_seconds(n_read, sound.samplerate),
            hint=_CONVERT_HINT,
        )


def _says_its_length(sound: soundfile.SoundFile, file: FileIO) -> bool:
    """False for an mp3 without Xing, Info or VBRI header: its number of frames is a guess from the bit rate."""
    if sound.format != "MP3":
        return True
    head = os.pread(file.fileno(), 10, 0)
    tag_size = 0
    if head[:3] == b"ID3":  # ID3v2: the size has 7 bits per byte, without the 10 bytes of its header
        tag_size = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    first_frame = os.pread(file.fileno(), _MP3_HEADER_REACH, tag_size)
    return any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI"))


def _seconds(n_frames: int, sampling_rate: int) -> str:
    return f"{n_frames / sampling_rate:.2f} s"


def _check_sizes(log: str, where: str) -> None:
    """Refuse a file shorter than its header says; libsndfile itself reads what is there and only logs it."""
    for _, declared, actual in _SIZE_MISMATCH.findall(log):
        if int(actual) < int(declared) < _UNKNOWN_SIZE:
            raise AudioError(
                "truncated",
                where=where,
                expected=f"{declared} bytes of audio",
                found=f"{actual}",
                hint=_CONVERT_HINT,
            )


def _check_ogg_is_whole(file: FileIO, where: str) -> None:
    """Refuse an ogg file (vorbis, opus, flac) whose last page is cut or is not marked as the end (RFC 3533)."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * 65307))  # the largest page has 65307 bytes
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    whole, last = False, False
    if len(page) >= 27:  # bytes 5: flags, 26: number of segments, then the length of each
        n_segments = page[26]
        whole = len(page) >= 27 + n_segments + sum(page[27 : 27 + n_segments])
        last = bool(page[5] & 0x04)
    if not (whole and last):
        found = "a page that is not marked as the last" if whole else "a page cut short"
        raise AudioError("truncated", where=where, expected="a last page", found=found, hint=_CONVERT_HINT)


def _decode_media(file: FileIO, where: str) -> Iterator[Block]:
    try:
        import av
    except ImportError as error:
        raise AudioError(
            "format not recognised",
            where=where,
            expected="wav, flac, ogg, opus or mp3",
            hint="for mp4, m4a, webm, aac and other media install the extra: pip install 'whisper-max[media]'",
        ) from error
    try:
        with av.open(file, "r", metadata_errors="replace") as container:
            yield from _decode_container(container, where)
    except av.FFmpegError as error:
        raise AudioError("not audio, damaged or truncated", where=where, found=error.strerror) from error


def _decode_container(container: InputContainer, where: str) -> Iterator[Block]:
    if not container.streams.audio:
        raise AudioError("no audio track", where=where, found=f"{len(container.streams)} other tracks")
    stream = container.streams.audio[0]
    declared = _declared_seconds(container, stream)
    seconds = 0.0
    for block in _decode_stream(container, stream):
        seconds += len(block.samples) / block.sampling_rate
        yield block
    if declared is not None and seconds < declared - _MEDIA_SHORTFALL:
        raise AudioError(
            "truncated", where=where, expected=f"{declared:.2f} s", found=f"{seconds:.2f} s", hint=_CONVERT_HINT
        )


def _declared_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    """The audio's length by its header; a container with video may be longer than its audio, and does not count."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6  # AV_TIME_BASE, microseconds
    return None


def _decode_stream(container: InputContainer, stream: AudioStream) -> Iterator[Block]:
    import av

    to_float = av.AudioResampler(format="fltp")  # planes of float32, same rate and channels
    for frame in container.decode(stream):
        for planes in to_float.resample(frame):
            yield Block(planes.sample_rate, cast("NDArray[np.float32]", planes.to_ndarray()).T)
