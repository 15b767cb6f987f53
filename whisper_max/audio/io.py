"""From any source of audio to a 16 kHz mono waveform.

A source is a path, a URL, ``-`` for standard input, an open binary file, or an array. Channels are mixed as FFmpeg
mixes them, other sampling rates go through soxr. Everything runs block by block: up to 10 minutes stay in memory,
longer recordings go to a temporary file that vanishes with the context (and, on POSIX, with the process, however it
dies). Whoever calls may watch the seconds grow, and end the decoding of a file that holds too many.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from io import FileIO
from itertools import chain, groupby
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from whisper_max.audio.block import LOUDEST, Block
from whisper_max.audio.decoders import decode
from whisper_max.audio.mix import mix_blocks
from whisper_max.audio.opening import STDIN as STDIN
from whisper_max.audio.opening import open_file, unreadable
from whisper_max.audio.reading import Reading
from whisper_max.audio.spool import OnDecoded, Spool
from whisper_max.audio.warnings import AudioWarning, Warn
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform, Waveform
from whisper_max.errors import AudioError, OptionError

AudioSource: TypeAlias = "str | os.PathLike[str] | BinaryIO | NDArray[Any]"

_IN_MEMORY_SAMPLES = 10 * 60 * SAMPLE_RATE  # longer recordings are spooled to disk; 38 MB

_BLOCK_FRAMES = 1 << 16
_MIN_RATE, _MAX_RATE = 1_000, 1_000_000  # Hz; outside of it the rate in a header or a call is a mistake
_MAX_CHANNELS = 64  # an array with more is samples and channels swapped
MOST_CHANNELS = 16  # that are transcribed one by one
_ARRAY = "array"  # its name in errors


@contextmanager
def open_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    on_decoded: OnDecoded | None = None,
    in_memory_seconds: float | None = None,
    track: int | str | None = None,
    strict: bool = False,
) -> Iterator[Waveform]:
    """Decode a source into a waveform that lives as long as the ``with`` block.

    Args:
        source: a path, a URL of a store or the web (which takes the extra ``remote``), ``"-"`` for standard input, a
            binary file object, or an array of samples: (n_samples,) or (n_samples, n_channels), int16 or floating point
            in about -1..1; the channels of more than 2 in FFmpeg's order. A regular file opened unbuffered is read
            where it is, all others are copied to a temporary file first.
        sampling_rate: Hz of an array; 16000 when not given. Files carry their own.
        on_decoded: called with the seconds decoded so far.
        in_memory_seconds: a longer recording goes to a temporary file; 10 minutes when not given.
        track: of several audio tracks, the number from 1, or the language by its code; the default one when not given.
        strict: a file with anything damaged, missing or cut off is an error; else silence stands in its place, and the
            waveform's ``warnings`` name the seconds.

    Raises:
        AudioError: missing, unreadable, empty, not audio, or nothing in it can be decoded; samples that are not finite;
            an array of the wrong shape or dtype; no room for the temporary file; where strict, a fault in the file.
        OptionError: a sampling rate out of range, or given for something else than an array; or a track
            that is not there.
    """
    with ExitStack() as stack:
        spool = _new_spool(stack, on_decoded, in_memory_seconds)
        if isinstance(source, np.ndarray):
            yield _open_array(source, _rate_of_array(sampling_rate, track), spool)
            return
        file, reading = _open_source(source, sampling_rate, Reading("", strict, track), spool)
        yield spool.gather(decode_audio(file, reading), reading.where)


@contextmanager
def open_channels(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    on_decoded: OnDecoded | None = None,
    in_memory_seconds: float | None = None,
    track: int | str | None = None,
    strict: bool = False,
) -> Iterator[list[Waveform]]:
    """Decode a source into a waveform for each of its channels; the rest as ``open_audio``.

    Each is, to the last bit, what ``open_audio`` makes of that channel alone.

    Raises:
        AudioError: more channels than can be transcribed side by side, or their number changes midway.
    """
    with ExitStack() as stack:
        spool = _new_spool(stack, on_decoded, in_memory_seconds)
        if isinstance(source, np.ndarray):
            blocks = _array_blocks(_checked_array(source), _checked_rate(_rate_of_array(sampling_rate, track)))
            yield spool.gather_channels(_to_channels_16khz(blocks, _ARRAY), _ARRAY)
            return
        file, reading = _open_source(source, sampling_rate, Reading("", strict, track, separate=True), spool)
        yield spool.gather_channels(decode_audio(file, reading), reading.where)


def _new_spool(stack: ExitStack, on_decoded: OnDecoded | None, in_memory_seconds: float | None) -> Spool:
    in_memory = _IN_MEMORY_SAMPLES if in_memory_seconds is None else round(in_memory_seconds * SAMPLE_RATE)
    return Spool(stack, on_decoded, in_memory)


def _open_source(
    source: str | os.PathLike[str] | BinaryIO, sampling_rate: int | None, wanted: Reading, spool: Spool
) -> tuple[FileIO, Reading]:
    """A file, and how it is read."""
    if not isinstance(wanted.track, int | str | None):
        raise OptionError("not a track", where="track", expected="a number or a language", found=repr(wanted.track))
    if sampling_rate is not None:
        raise OptionError("sampling_rate is for arrays; a file carries its own", found=sampling_rate)
    file, where = open_file(source, spool.stack)
    return file, replace(wanted, where=where, watch=spool.watch, warnings=spool.warnings)


@contextmanager
def open_blocks(source: str | os.PathLike[str] | BinaryIO, found: list[AudioWarning]) -> Iterator[Iterator[Block]]:
    """The blocks of a file with the channels and at the rate that it has, as long as the ``with`` block.

    Args:
        source: a path, ``"-"``, or a binary file object.
        found: takes the warnings.

    Raises:
        AudioError: as ``open_audio``, when the blocks are asked for.
    """
    with ExitStack() as stack:
        file, where = open_file(source, stack)
        yield _checked(_read_by(decode(file, Reading(where, warnings=found)), where), where)


def decode_audio(file: FileIO, reading: Reading) -> Iterator[NDArray[np.float32]]:
    """The pieces of a seekable file as they are decoded, float32 at 16 kHz; errors as ``open_audio``.

    (n,) each, or (n, n_channels) and errors as ``open_channels`` where the channels are to stay apart.

    Args:
        file: a regular file, opened unbuffered for reading; it is not closed here.
        reading: how it is read; after the last piece it has all warnings.
    """
    where = reading.where
    blocks = _read_by(decode(file, reading), where)
    if reading.separate:
        return _to_channels_16khz(blocks, where)
    return _to_mono_16khz(blocks, where, reading.warnings.append)


@contextmanager
def gather_audio(
    pieces: Iterator[NDArray[np.float32]],
    found: list[AudioWarning],
    where: str,
    *,
    on_decoded: OnDecoded,
    in_memory_seconds: float,
) -> Iterator[Waveform]:
    """A waveform of pieces that are decoded elsewhere, as long as the ``with`` block; the rest as ``open_audio``.

    Args:
        pieces: (n,) float32 at 16 kHz each.
        found: warnings; it may grow until they end.
    """
    with ExitStack() as stack:
        spool = Spool(stack, on_decoded, round(in_memory_seconds * SAMPLE_RATE), found)
        yield spool.gather(pieces, where)


@contextmanager
def gather_channels(
    pieces: Iterator[NDArray[np.float32]],
    found: list[AudioWarning],
    where: str,
    *,
    on_decoded: OnDecoded,
    in_memory_seconds: float,
) -> Iterator[list[Waveform]]:
    """A waveform for each channel of pieces, (n, n_channels) float32 each; the rest as ``gather_audio``."""
    with ExitStack() as stack:
        spool = Spool(stack, on_decoded, round(in_memory_seconds * SAMPLE_RATE), found)
        yield spool.gather_channels(pieces, where)


def load_audio(
    source: AudioSource, *, sampling_rate: int | None = None, track: int | str | None = None, strict: bool = False
) -> NDArray[np.float32]:
    """Decode a source into one array, (n_samples,) float32 at 16 kHz; arguments and errors as ``open_audio``.

    An array has no place for warnings: they are given as Python's own.
    """
    with open_audio(source, sampling_rate=sampling_rate, track=track, strict=strict) as waveform:
        for warning in waveform.warnings:
            warnings.warn(warning.message, stacklevel=2)
        return waveform.read(0, waveform.n_samples)


def _open_array(array: NDArray[Any], sampling_rate: int, spool: Spool) -> Waveform:
    blocks = _array_blocks(_checked_array(array), _checked_rate(sampling_rate))
    pieces = _to_mono_16khz(blocks, _ARRAY, spool.warnings.append)
    if array.dtype == np.float32 and array.ndim == 1 and sampling_rate == SAMPLE_RATE:
        for _ in spool.watched(pieces):  # checks that every sample is finite
            pass
        return ArrayWaveform(array, spool.warnings)
    return spool.gather(pieces, _ARRAY)


def _rate_of_array(sampling_rate: int | None, track: int | str | None) -> int:
    if track is not None:
        raise OptionError("track is for files; an array has one", found=track)
    return SAMPLE_RATE if sampling_rate is None else sampling_rate


def _checked_array(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= _MAX_CHANNELS):
        expected = f"(n_samples,) or (n_samples, n_channels) with 1 to {_MAX_CHANNELS} channels"
        raise AudioError("wrong shape", where=_ARRAY, expected=expected, found=array.shape)
    if array.dtype != np.int16 and array.dtype.kind != "f":
        raise AudioError("wrong dtype", where=_ARRAY, expected="int16 or floating point", found=array.dtype)
    return array


def _checked_rate(sampling_rate: int) -> int:
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | np.integer):
        raise OptionError("sampling_rate is not an integer", expected="Hz", found=repr(sampling_rate))
    if not _MIN_RATE <= sampling_rate <= _MAX_RATE:
        raise OptionError("sampling_rate out of range", expected=f"{_MIN_RATE} to {_MAX_RATE}", found=sampling_rate)
    return int(sampling_rate)


def _array_blocks(array: NDArray[Any], sampling_rate: int) -> Iterator[Block]:
    scale = np.float32(1 / 32768) if array.dtype == np.int16 else np.float32(1)
    for start in range(0, len(array), _BLOCK_FRAMES):
        block = array[start : start + _BLOCK_FRAMES]
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which is then refused by its place
            samples = block.astype(np.float32) * scale
        yield Block(sampling_rate, samples.reshape(len(samples), -1))


def _read_by(blocks: Iterator[Block], where: str) -> Iterator[Block]:
    """The blocks of a decoder; what the disk refuses, and a demuxer that looks beyond the file, is the file's fault.

    Only what the decoder itself raises, not those to whom it gives blocks.
    """
    try:
        yield from blocks
    except OSError as error:
        raise unreadable(error, where) from error


def _to_mono_16khz(blocks: Iterator[Block], where: str, warn: Warn) -> Iterator[NDArray[np.float32]]:
    """Check, mix the channels and resample; the pieces together are (round(n * 16000 / rate),) float32.

    Where the rate changes midway, each stretch is resampled by itself.
    """
    yield from _to_16khz(mix_blocks(_checked(blocks, where), warn), 1)


def _to_channels_16khz(blocks: Iterator[Block], where: str) -> Iterator[NDArray[np.float32]]:
    """Check and resample; the pieces together are (round(n * 16000 / rate), n_channels) float32."""
    blocks = _checked(blocks, where)
    first = next(blocks, None)
    if first is None:
        return
    n_channels = first.samples.shape[1]
    if n_channels > MOST_CHANNELS:
        expected = f"at most {MOST_CHANNELS} to be transcribed one by one"
        raise AudioError("too many channels", where=where, expected=expected, found=n_channels)
    yield from _to_16khz(_alike(chain([first], blocks), n_channels, where), n_channels)


def _alike(blocks: Iterator[Block], n_channels: int, where: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Rate and samples of blocks, which all have as many channels."""
    n_seconds = 0.0
    for block in blocks:
        if block.samples.shape[1] != n_channels:
            found = f"{block.samples.shape[1]} at {n_seconds:.2f} s"
            what = "the number of channels changes"
            raise AudioError(what, where=where, expected=n_channels, found=found, hint="transcribe it mixed")
        n_seconds += len(block.samples) / block.sampling_rate
        yield block.sampling_rate, block.samples


def _to_16khz(pieces: Iterator[tuple[int, NDArray[np.float32]]], n_channels: int) -> Iterator[NDArray[np.float32]]:
    """Samples with their rates, at one rate; (n,) float32 each, or (n, n_channels) where there are several."""
    for rate, stretch in groupby(pieces, lambda piece: piece[0]):
        if rate == SAMPLE_RATE:
            yield from (samples for _, samples in stretch)
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, n_channels, dtype="float32", quality="HQ")
        rest = None
        for _, samples in stretch:
            rest = samples[:0]
            yield resampler.resample_chunk(samples)
        if rest is not None:
            yield resampler.resample_chunk(rest, last=True)


def _checked(blocks: Iterator[Block], where: str) -> Iterator[Block]:
    """The blocks, which are sound at possible sampling rates."""
    n_read = 0
    for block in blocks:
        if not _MIN_RATE <= block.sampling_rate <= _MAX_RATE:
            expected = f"{_MIN_RATE} to {_MAX_RATE} Hz"
            raise AudioError("sampling rate out of range", where=where, expected=expected, found=block.sampling_rate)
        check_sound(block, n_read, where)
        n_read += len(block.samples)
        yield block


def check_sound(block: Block, n_before: int, where: str) -> None:
    """Refuse samples that can't be sound: those that are not finite, or too far from -1..1 to be scaled.

    Args:
        block: float32 samples.
        n_before: samples of each channel before the block; the error says where in the recording it is.
        where: the recording, for the error.

    Raises:
        AudioError: there is such a sample.
    """
    good = np.abs(block.samples) <= LOUDEST  # False for NaN
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
