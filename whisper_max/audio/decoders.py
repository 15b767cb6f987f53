"""From the bytes of an audio file to blocks of samples, at the file's own rate and channels.

libsndfile (soundfile) reads wav, flac, ogg, opus, mp3 and its other formats; what it doesn't know goes to FFmpeg's
libraries (PyAV, the extra ``media``). Nothing is left out in silence. A file that ends before its own header says so
is an error, never a short transcript. Where a header tells less than there is, decoders stop early: such an mp3 or flac
is read to its end, and so is a wav file of a size that programs leave which write to a pipe; another wav, rf64, aiff,
caf or au file is an error. Files joined into one are read one after the other (mp3, flac, ogg) or refused. One case
can't be told from a whole file: an mp3 without a Xing/Info header or a raw .aac stream, which nowhere say how long they
are.
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

from whisper_max.audio import flac, mp3
from whisper_max.audio.chunks import find_missing_size
from whisper_max.audio.joined import check_not_joined
from whisper_max.audio.ogg import find_links
from whisper_max.audio.pieces import Pieces
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.container import InputContainer

_BLOCK_FRAMES = 1 << 16

_SYSTEM_ERROR, _MALFORMED_FILE = 2, 3  # SF_ERR_* of sndfile.h
_CONVERT_HINT = "get the whole file, or convert what is there to wav"

# Lines of libsndfile's log where a size in the header disagrees with the file; wav, aiff, au, w64 and rf64.
_SIZE_MISMATCH = re.compile(r"^\s*(data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_SIZE_TO_THE_END = b"\xff\xff\xff\xff"
_UNKNOWN_SIZE = 0x7FFFF000  # writers that can't seek back (pipes) put this or more where the size belongs

_MAX_CHANNELS = 64  # a block of more would take much memory, and no recording has them
_UNKNOWN_FRAMES = 2**63 - 1  # SF_COUNT_MAX
_RAW_FORMATS = ("W64", "RF64", "AIFF", "AU")
_LARGE_HEADER = 4096  # bytes; a raw format without samples is smaller than that
_WITHOUT_LENGTH = ("mp3", "aac")  # FFmpeg guesses it from the bit rate
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
    check_not_joined(file, where)
    if mp3.begins(file):
        yield from _decode_mp3(file, where)
        return
    for source in _find_sources(file, where):
        sound = _open_sound(source, where)
        if sound is None:
            source.seek(0)
            yield from _decode_media(source, where)
        elif sound.subtype.startswith("MPEG_LAYER"):  # behind other bytes, or in wav
            sound.close()
            yield from _decode_mp3(file, where)
        else:
            with sound:
                yield from _decode_sound(sound, file, where, sound.frames)


def _find_sources(file: FileIO, where: str) -> Iterator[FileIO | Pieces]:
    """The file; or each recording where several are joined; or the file with its header corrected."""
    n_bytes = os.fstat(file.fileno()).st_size
    size_at = find_missing_size(file, where)
    if size_at is not None:
        yield Pieces(file, [range(size_at), _SIZE_TO_THE_END, range(size_at + 4, n_bytes)])
        return
    for pieces in [[link] for link in find_links(file, where)] or flac.find_recordings(file):
        yield file if pieces == [range(n_bytes)] else Pieces(file, pieces)


def _open_sound(source: FileIO | Pieces, where: str) -> soundfile.SoundFile | None:
    """A source in libsndfile; None where it is to be tried with FFmpeg."""
    source.seek(0)
    try:
        if isinstance(source, Pieces):
            sound = soundfile.SoundFile(source)
        else:
            sound = soundfile.SoundFile(source.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        if error.code in (_SYSTEM_ERROR, _MALFORMED_FILE):
            raise AudioError("damaged or truncated", where=where, found=error.error_string) from error
        return None
    if sound.frames == _UNKNOWN_FRAMES:  # flac of unknown length: libsndfile opens it, but can't read it
        sound.close()
        return None
    return sound


def _decode_mp3(file: FileIO, where: str) -> Iterator[Block]:
    recordings = mp3.find_recordings(file, where)
    alone = len(recordings) == 1 and recordings[0].is_plain and mp3.begins(file)
    for recording in recordings:
        sound = _open_sound(file, where) if alone else None
        if sound is not None and not recording.is_exact and sound.frames < recording.n_samples:  # a guess, too low
            sound.close()
            sound = None
        if sound is None:
            sound = _open_sound(Pieces(file, recording.pieces), where)
        if sound is None:
            raise AudioError("damaged or truncated", where=where, expected="mp3", hint=_CONVERT_HINT)
        with sound:
            yield from _decode_sound(sound, file, where, min(sound.frames, recording.n_samples))


def _decode_sound(sound: soundfile.SoundFile, file: FileIO, where: str, n_expected: int) -> Iterator[Block]:
    n_bytes = os.fstat(file.fileno()).st_size
    if sound.channels > _MAX_CHANNELS:
        raise AudioError("too many channels", where=where, expected=f"at most {_MAX_CHANNELS}", found=sound.channels)
    if sound.frames == 0 and sound.format in _RAW_FORMATS and n_bytes > _LARGE_HEADER:
        raise AudioError("no samples by its header", where=where, found=f"a file of {n_bytes} bytes")
    _check_sizes(sound.extra_info, where)
    n_read = 0
    while True:
        try:
            samples = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                "damaged or truncated",
                where=where,
                expected=_seconds(n_expected, sound.samplerate),
                found=f"{error.error_string} after {_seconds(n_read, sound.samplerate)}",
                hint=_CONVERT_HINT,
            ) from error
        if len(samples) == 0:
            break
        n_read += len(samples)
        yield Block(sound.samplerate, samples)
    if n_read < n_expected:
        raise AudioError(
            "truncated",
            where=where,
            expected=_seconds(n_expected, sound.samplerate),
            found=_seconds(n_read, sound.samplerate),
            hint=_CONVERT_HINT,
        )


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


def _decode_media(file: FileIO | Pieces, where: str) -> Iterator[Block]:
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
    """The audio's length by its header; None where that is a guess, or may be the length of video beside it."""
    if container.format.name in _WITHOUT_LENGTH:
        return None
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
