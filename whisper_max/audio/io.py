"""From any source of audio to a 16 kHz mono waveform.

A source is a path, ``-`` for standard input, an open binary file, or an array. Channels are averaged, other sampling
rates go through soxr. Everything runs block by block: up to 10 minutes stay in memory, longer recordings go to a
temporary file that vanishes with the context (and, on POSIX, with the process, however it dies). Whoever calls may
watch the seconds grow, and end the decoding of a file that holds too many.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from whisper_max.audio.decoders import Block, decode
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform, SpooledWaveform, Waveform
from whisper_max.errors import AudioError, OptionError

AudioSource: TypeAlias = "str | os.PathLike[str] | BinaryIO | NDArray[Any]"

STDIN = "-"

_IN_MEMORY_SAMPLES = 10 * 60 * SAMPLE_RATE  # longer recordings are spooled to disk; 38 MB

OnDecoded: TypeAlias = "Callable[[float], object]"
"""Called with the seconds decoded so far, after each block; what it raises ends the decoding."""

_BLOCK_FRAMES = 1 << 16
_LOUDEST = 100.0  # float audio is about -1..1; 40 dB above it are damage, or integers that were not scaled
_MIN_RATE, _MAX_RATE = 1_000, 1_000_000  # Hz; outside of it the rate in a header or a call is a mistake
_MAX_CHANNELS = 64  # an array with more is samples and channels swapped


@contextmanager
def open_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    on_decoded: OnDecoded | None = None,
    in_memory_seconds: float | None = None,
) -> Iterator[Waveform]:
    """Decode a source into a waveform that lives as long as the ``with`` block.

    Args:
        source: a path, ``"-"`` for standard input, a binary file object, or an array of samples: (n_samples,) or
            (n_samples, n_channels), int16 or floating point in about -1..1. A regular file opened unbuffered is read
            where it is, all others are copied to a temporary file first.
        sampling_rate: Hz of an array; 16000 when not given. Files carry their own.
        on_decoded: called with the seconds decoded so far.
        in_memory_seconds: a longer recording goes to a temporary file; 10 minutes when not given.

    Raises:
        AudioError: missing, unreadable, empty, truncated or not audio; samples that are not finite; an array of the
            wrong shape or dtype; no room for the temporary file.
        OptionError: a sampling rate out of range, or given for something else than an array.
    """
    with ExitStack() as stack:
        in_memory = _IN_MEMORY_SAMPLES if in_memory_seconds is None else round(in_memory_seconds * SAMPLE_RATE)
        spool = _Spool(stack, on_decoded, in_memory)
        if isinstance(source, np.ndarray):
            yield _open_array(source, SAMPLE_RATE if sampling_rate is None else sampling_rate, spool)
            return
        if sampling_rate is not None:
            raise OptionError("sampling_rate is for arrays; a file carries its own", found=sampling_rate)
        file, where = _open_file(source, stack)
        yield spool.gather(_to_mono_16khz(decode(file, where), where), where)


def load_audio(source: AudioSource, *, sampling_rate: int | None = None) -> NDArray[np.float32]:
    """Decode a source into one array, (n_samples,) float32 at 16 kHz; arguments and errors as ``open_audio``."""
    with open_audio(source, sampling_rate=sampling_rate) as waveform:
        return waveform.read(0, waveform.n_samples)


def _open_array(array: NDArray[Any], sampling_rate: int, spool: _Spool) -> Waveform:
    where = "array"
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= _MAX_CHANNELS):
        expected = f"(n_samples,) or (n_samples, n_channels) with 1 to {_MAX_CHANNELS} channels"
        raise AudioError("wrong shape", where=where, expected=expected, found=array.shape)
    if array.dtype != np.int16 and array.dtype.kind != "f":
        raise AudioError("wrong dtype", where=where, expected="int16 or floating point", found=array.dtype)
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | np.integer):
        raise OptionError("sampling_rate is not an integer", expected="Hz", found=repr(sampling_rate))
    if not _MIN_RATE <= sampling_rate <= _MAX_RATE:
        raise OptionError("sampling_rate out of range", expected=f"{_MIN_RATE} to {_MAX_RATE}", found=sampling_rate)
    blocks = _array_blocks(array, int(sampling_rate))
    if array.dtype == np.float32 and array.ndim == 1 and sampling_rate == SAMPLE_RATE:
        for _ in spool.watched(_to_mono_16khz(blocks, where)):  # checks that every sample is finite
            pass
        return ArrayWaveform(array)
    return spool.gather(_to_mono_16khz(blocks, where), where)


def _array_blocks(array: NDArray[Any], sampling_rate: int) -> Iterator[Block]:
    scale = np.float32(1 / 32768) if array.dtype == np.int16 else np.float32(1)
    for start in range(0, len(array), _BLOCK_FRAMES):
        block = array[start : start + _BLOCK_FRAMES]
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which is then refused by its place
            samples = block.astype(np.float32) * scale
        yield Block(sampling_rate, samples.reshape(len(samples), -1))


def _open_file(source: str | os.PathLike[str] | BinaryIO, stack: ExitStack) -> tuple[FileIO, str]:
    """The source as a seekable file opened unbuffered, and its name for errors."""
    if isinstance(source, str | os.PathLike):
        if source == STDIN:
            if sys.stdin is None or sys.stdin.isatty():
                raise AudioError("no audio", where="standard input", hint="pipe a file into it")
            return _spool_bytes(sys.stdin.buffer, "standard input", stack), "standard input"
        where = os.fspath(source)
        file = _open_path(where, stack)
        return (file if file.seekable() else _spool_bytes(file, where, stack)), where
    if not hasattr(source, "read"):
        raise AudioError(
            "not a source of audio",
            expected="a path, '-', a binary file object or a NumPy array",
            found=type(source).__name__,
        )
    where = str(getattr(source, "name", type(source).__name__))
    if isinstance(source, FileIO) and source.readable() and source.seekable() and source.tell() == 0:
        return source, where
    return _spool_bytes(source, where, stack), where


def _open_path(path: str, stack: ExitStack) -> FileIO:
    try:
        return stack.enter_context(open(path, "rb", buffering=0))
    except FileNotFoundError as error:
        raise AudioError("no such file", where=path) from error
    except IsADirectoryError as error:
        raise AudioError("a folder, not an audio file", where=path) from error
    except OSError as error:
        raise AudioError("can't be opened", where=path, found=error.strerror) from error
    except ValueError as error:  # a NUL in the name
        raise AudioError("not a file name", where=repr(path), found=error) from error


def _spool_bytes(source: BinaryIO | FileIO, where: str, stack: ExitStack) -> FileIO:
    spool = _temporary_file(stack, where)
    try:
        shutil.copyfileobj(source, spool)
    except TypeError as error:
        raise AudioError("opened as text", where=where, expected="a file opened in binary mode") from error
    except OSError as error:
        raise AudioError("can't be copied to a temporary file", where=where, found=error.strerror) from error
    return spool


def _temporary_file(stack: ExitStack, where: str) -> FileIO:
    try:
        return stack.enter_context(tempfile.TemporaryFile(buffering=0, prefix="whisper_max-"))
    except OSError as error:
        raise AudioError(
            "no temporary file", where=where, found=error.strerror, hint="set TMPDIR to a folder with free space"
        ) from error


def _to_mono_16khz(blocks: Iterator[Block], where: str) -> Iterator[NDArray[np.float32]]:
    """Check, average the channels and resample; the pieces together are (round(n * 16000 / rate),) float32."""
    resampler: soxr.ResampleStream | None = None
    rate = 0
    n_read = 0
    for block in blocks:
        if n_read == 0:
            rate = block.sampling_rate
            if not _MIN_RATE <= rate <= _MAX_RATE:
                raise AudioError(
                    "sampling rate out of range", where=where, expected=f"{_MIN_RATE} to {_MAX_RATE} Hz", found=rate
                )
            if rate != SAMPLE_RATE:
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        elif block.sampling_rate != rate:
            raise AudioError("the sampling rate changes midway", where=where, expected=rate, found=block.sampling_rate)
        check_sound(block, n_read, where)
        n_read += len(block.samples)
        mono = block.samples.mean(axis=1, dtype=np.float32) if block.samples.shape[1] > 1 else block.samples[:, 0]
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def check_sound(block: Block, n_before: int, where: str) -> None:
    """Refuse samples that can't be sound: those that are not finite, or too far from -1..1 to be scaled.

    Args:
        block: float32 samples.
        n_before: samples of each channel before the block; the error says where in the recording it is.
        where: the recording, for the error.

    Raises:
        AudioError: there is such a sample.
    """
    good = np.abs(block.samples) <= _LOUDEST  # False for NaN
    if good.all():
        return
    frame, channel = np.argwhere(~good)[0]
    index = n_before + int(frame)
    value = block.samples[frame, channel]
    raise AudioError(
        "a sample that is no sound",
        where=where,
        expected="finite values, about -1 to 1",
        found=f"{value} at sample {index} ({index / block.sampling_rate:.3f} s)",
        hint="divide what was int16 by 32768" if abs(value) <= 1 << 15 else None,
    )


@dataclass(frozen=True)
class _Spool:
    """Where decoded samples are kept: in memory, or on disk as soon as they are many.

    stack: closes the file. on_decoded: is told how many seconds there are. in_memory: most samples kept in memory.
    """

    stack: ExitStack
    on_decoded: OnDecoded | None
    in_memory: int

    def gather(self, pieces: Iterator[NDArray[np.float32]], where: str) -> Waveform:
        """Keep all pieces."""
        pieces = self.watched(pieces)
        kept: list[NDArray[np.float32]] = []
        n_samples = 0
        for piece in pieces:
            kept.append(piece)
            n_samples += len(piece)
            if n_samples > self.in_memory:
                return self._to_disk(kept, pieces, where)
        return ArrayWaveform(np.concatenate(kept) if kept else np.zeros(0, np.float32))

    def watched(self, pieces: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The pieces as they come, counted."""
        n_samples = 0
        for piece in pieces:
            n_samples += len(piece)
            if self.on_decoded is not None:
                self.on_decoded(n_samples / SAMPLE_RATE)
            yield piece

    def _to_disk(
        self, first: list[NDArray[np.float32]], rest: Iterator[NDArray[np.float32]], where: str
    ) -> Waveform:
        file = _temporary_file(self.stack, where)
        n_samples = 0
        for pieces in (first, rest):
            for piece in pieces:
                _write(file, piece, where)
                n_samples += len(piece)
        first.clear()
        return SpooledWaveform(file, n_samples)


def _write(file: FileIO, piece: NDArray[np.float32], where: str) -> None:
    left = memoryview(piece.tobytes())
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise AudioError(
            "decoded samples can't be written to a temporary file",
            where=where,
            found=error.strerror,
            hint="set TMPDIR to a folder with free space",
        ) from error
