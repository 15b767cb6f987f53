"""Uploads to waveforms on worker threads: decoding, in other processes, voice activity, and what scales the mel.

Short and long uploads have threads of their own, so that a short one never waits for hours of audio to be decoded.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from io import FileIO
from typing import TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from whisper_max.api import Model
from whisper_max.audio.io import gather_audio, gather_channels, open_audio, open_channels
from whisper_max.audio.reading import Reading
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE, Waveform
from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.errors import TooLong
from whisper_max.server.jobs import Cancelled
from whisper_max.server.references import Reference, voices_of
from whisper_max.server.spool import DiskSpace
from whisper_max.speakers.diarize import tell_apart
from whisper_max.transcribe.channels import AnyRecording, open_channel_recording
from whisper_max.transcribe.growing import Encode
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import SEPARATE, TranscribeOptions

T = TypeVar("T")

Audio = FileIO | NDArray[np.float32]
"""An open file, unbuffered, or (n_samples,) float32 at 16 kHz."""

LONG_UPLOAD = 4 << 20  # bytes; about 2 minutes of 16 kHz wav, or a quarter of an hour of speech in opus
_LONG_SECONDS = 120.0  # of a recording that was decoded
_IN_MEMORY_SECONDS = 60.0  # of one recording; longer ones go to disk
_NICE = 5  # of threads for long uploads: a third of the time that others get where all are busy


class _Watched:
    """A waveform that can be taken away from whoever reads it."""

    def __init__(self, waveform: Waveform, check: Callable[[], None]) -> None:
        self._waveform = waveform
        self._check = check
        self.n_samples = waveform.n_samples
        self.duration = waveform.duration
        self.warnings = waveform.warnings

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """As ``Waveform.read``.

        Raises:
            Cancelled: nobody wants it any more.
        """
        self._check()
        return self._waveform.read(start, stop)


@dataclass(frozen=True)
class Wanted:
    """What is asked of a recording besides its transcription.

    max_seconds: the longest that is taken. cancelled: asked again and again; True ends the work. place: of its bytes on
    disk, given back with the recording; None where it has none. references: of who may speak in it. encode: encodes its
    first window, where the model does not.
    """

    max_seconds: float
    cancelled: Callable[[], bool]
    place: DiskSpace | None
    references: Sequence[Reference] = ()
    encode: Encode | None = None

    def check(self) -> None:
        """Raises ``Cancelled`` where nobody wants it any more."""
        if self.cancelled():
            raise Cancelled("cancelled")

    def watch(self, seconds: float) -> None:
        """Look at what was decoded; raises ``Cancelled``, ``TooLong``, or ``APIError`` where it has no place."""
        self.check()
        if seconds > self.max_seconds:
            raise TooLong("too long", where="file", expected=f"at most {self.max_seconds:g} s of audio")
        if self.place is not None and seconds > _IN_MEMORY_SECONDS:
            self.place.need(decoded=round(seconds * SAMPLE_RATE) * SAMPLE_BYTES)


@dataclass(frozen=True)
class Opened:
    """A recording that is ready for the engine.

    waveform: all of it; None where its channels are apart. close: gives back what it takes.
    """

    recording: AnyRecording
    waveform: Waveform | None
    close: Callable[[], None]


def open_upload(audio: Audio, options: TranscribeOptions, model: Model, wanted: Wanted, decoders: Decoders) -> Opened:
    """Decode a recording and listen for speech where the options ask for it; the model is not called.

    Args:
        audio: the upload.
        options: of its transcription.
        model: whose it is to be.
        wanted: limits, and whether it still is.
        decoders: decode files.

    Raises:
        TooLong: more than it may have.
        Cancelled: it was cancelled.
        AudioError: it is not decodable audio.
        APIError: there is no place for it on disk; a reference can't be used.
        OptionError: voice activity detection is asked for and not installed; separate channels, and there is but one.
    """
    with ExitStack() as stack:
        if wanted.place is not None:
            stack.callback(wanted.place.close)
        of_model = model.vocabulary, model.dims.n_mels, options
        recording: AnyRecording
        waveform: Waveform | None = None
        if options.channels == SEPARATE:
            channels = stack.enter_context(_opened_channels(audio, options, wanted, decoders))
            recording = open_channel_recording([_Watched(each, wanted.check) for each in channels], *of_model)
        else:
            known = voices_of(wanted.references, decoders, wanted.check)
            opened = stack.enter_context(_opened(audio, options, wanted, decoders))
            wanted.watch(opened.duration)
            waveform = _Watched(opened, wanted.check)
            apart = partial(tell_apart, known=known)
            recording = open_recording(waveform, *of_model, tell_apart=apart, encode=wanted.encode)
        recording.scale()  # here and not on the engine's thread
        return Opened(recording, waveform, stack.pop_all().close)


@contextmanager
def _opened(audio: Audio, options: TranscribeOptions, wanted: Wanted, decoders: Decoders) -> Iterator[Waveform]:
    limits: _Limits = {"on_decoded": wanted.watch, "in_memory_seconds": _IN_MEMORY_SECONDS}
    if isinstance(audio, np.ndarray):
        with open_audio(audio, **limits) as waveform:
            yield waveform
        return
    with ExitStack() as stack:
        with _decoding(audio, options, wanted, decoders) as (pieces, warnings):
            waveform = stack.enter_context(gather_audio(pieces, warnings, "file", **limits))
        yield waveform


@contextmanager
def _opened_channels(
    audio: Audio, options: TranscribeOptions, wanted: Wanted, decoders: Decoders
) -> Iterator[list[Waveform]]:
    """A waveform for each channel; what is limited is the seconds of all of them together."""
    n_channels = 1

    def watch(seconds: float) -> None:
        wanted.watch(seconds * n_channels)

    def counted(pieces: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        nonlocal n_channels
        for piece in pieces:
            n_channels = piece.shape[1]
            yield piece

    limits: _Limits = {"on_decoded": watch, "in_memory_seconds": _IN_MEMORY_SECONDS}
    if isinstance(audio, np.ndarray):
        with open_channels(audio, **limits) as channels:
            yield channels
        return
    with ExitStack() as stack:
        with _decoding(audio, options, wanted, decoders) as (pieces, warnings):
            channels = stack.enter_context(gather_channels(counted(pieces), warnings, "file", **limits))
        yield channels


class _Limits(TypedDict):
    on_decoded: Callable[[float], object]
    in_memory_seconds: float


@contextmanager
def _decoding(
    audio: FileIO, options: TranscribeOptions, wanted: Wanted, decoders: Decoders
) -> Iterator[tuple[Iterator[NDArray[np.float32]], list[AudioWarning]]]:
    """The pieces of a file, and the warnings that come with them; its process ends with the context."""
    warnings: list[AudioWarning] = []
    asked = Reading("file", options.strict, options.track, separate=options.channels == SEPARATE)
    with closing(decoders.decode(audio, asked, warnings.append, check=wanted.check, later=_is_long(audio))) as pieces:
        yield pieces, warnings


def _is_long(audio: Audio) -> bool:
    size = audio.nbytes if isinstance(audio, np.ndarray) else os.fstat(audio.fileno()).st_size
    return size > LONG_UPLOAD


class Workers:
    """Threads that open recordings, and work on them besides the engine.

    Args:
        n_threads: for short uploads, and as many for long ones.
        decoders: decode files for them.
    """

    def __init__(self, n_threads: int, decoders: Decoders) -> None:
        self.decoders = decoders
        self._short = ThreadPoolExecutor(n_threads, "whisper_max-short")
        self._long = ThreadPoolExecutor(n_threads, "whisper_max-long", initializer=_yield_to_others)

    def submit(self, audio: Audio, work: Callable[[], T]) -> Future[T]:
        """Do the work for this audio when a thread is free."""
        return self._pool(_is_long(audio)).submit(copy_context().run, work)

    def submit_again(self, seconds: float, work: Callable[[], T]) -> Future[T]:
        """Do more work for a recording of so many seconds, which was decoded before."""
        return self._pool(seconds > _LONG_SECONDS).submit(copy_context().run, work)

    def _pool(self, is_long: bool) -> ThreadPoolExecutor:
        return self._long if is_long else self._short

    def close(self) -> None:
        """End the threads once what they do is done; what waits is dropped."""
        for pool in (self._short, self._long):
            pool.shutdown(wait=True, cancel_futures=True)
        self.decoders.close()


def _yield_to_others() -> None:
    """Let this thread come after the engine's and those for short uploads; on Linux priorities are each thread's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
