"""Uploads to waveforms on worker threads: decoding, voice activity, and the one pass that scales the mel.

Short and long uploads have threads of their own, so that a short one never waits for hours of audio to be decoded.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.io import open_audio
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import Waveform
from whisper_max.server.errors import TooLong
from whisper_max.server.jobs import Cancelled
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.speech import Speech, listen

Audio = FileIO | NDArray[np.float32]
"""An open file, unbuffered, or (n_samples,) float32 at 16 kHz."""

LONG_UPLOAD = 4 << 20  # bytes; about 2 minutes of 16 kHz wav, or a quarter of an hour of speech in opus
_IN_MEMORY_SECONDS = 60.0  # of one recording; longer ones go to disk
_NICE = 5  # of threads for long uploads: a third of the time that others get where all are busy


@dataclass
class Recording:
    """A recording that is open, ready for the engine. context: closes it."""

    mel: MelWindows
    speech: Speech | None
    options: TranscribeOptions
    context: ExitStack


class _Watched:
    """A waveform that can be taken away from whoever reads it."""

    def __init__(self, waveform: Waveform, check: Callable[[], None]) -> None:
        self._waveform = waveform
        self._check = check
        self.n_samples = waveform.n_samples
        self.duration = waveform.duration

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """As ``Waveform.read``.

        Raises:
            Cancelled: nobody wants it any more.
        """
        self._check()
        return self._waveform.read(start, stop)


def open_recording(
    audio: Audio, options: TranscribeOptions, n_mels: int, *, max_seconds: float, cancelled: Callable[[], bool]
) -> Recording:
    """Decode a recording and listen for speech where the options ask for it.

    Args:
        audio: the upload.
        options: of its transcription.
        n_mels: of the model.
        max_seconds: the longest recording that is taken.
        cancelled: asked again and again; True ends the work.

    Raises:
        TooLong: more than ``max_seconds``.
        Cancelled: it was cancelled.
        AudioError: it is not decodable audio.
        OptionError: voice activity detection is asked for and not installed.
    """

    def check() -> None:
        if cancelled():
            raise Cancelled("cancelled")

    def watch(seconds: float) -> None:
        check()
        if seconds > max_seconds:
            raise TooLong("too long", where="file", expected=f"at most {max_seconds:g} s of audio")

    with ExitStack() as stack:
        waveform = stack.enter_context(open_audio(audio, on_decoded=watch, in_memory_seconds=_IN_MEMORY_SECONDS))
        watch(waveform.duration)
        heard, speech = listen(_Watched(waveform, check), options)
        mel = MelWindows(heard, n_mels)
        mel.window(0)  # finds the loudest value, a pass over the whole recording, here and not on the engine's thread
        return Recording(mel, speech, options, stack.pop_all())


class Workers:
    """Threads that open recordings.

    Args:
        n_threads: for short uploads, and as many for long ones.
    """

    def __init__(self, n_threads: int) -> None:
        self._short = ThreadPoolExecutor(n_threads, "whisper_max-short")
        self._long = ThreadPoolExecutor(n_threads, "whisper_max-long", initializer=_yield_to_others)

    def submit(self, audio: Audio, work: Callable[[], None]) -> Future[None]:
        """Do the work for this audio when a thread is free."""
        size = audio.nbytes if isinstance(audio, np.ndarray) else os.fstat(audio.fileno()).st_size
        return (self._long if size > LONG_UPLOAD else self._short).submit(work)

    def close(self) -> None:
        """End the threads once what they do is done; what waits is dropped."""
        for pool in (self._short, self._long):
            pool.shutdown(wait=True, cancel_futures=True)


def _yield_to_others() -> None:
    """Let this thread come after the engine's and those for short uploads; on Linux priorities are each thread's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
