"""Sound for ``live`` on the command line: samples of standard input or of a microphone, a tenth of a second at a time.

Apart from the command itself, which is built with every parser and must not load NumPy.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.cli_transcribe import say
from whisper_max.errors import AudioError, OptionError

if TYPE_CHECKING:
    from whisper_max.live import LiveEvent, LiveTranscriber

_PIECE = 0.1  # seconds read at a time
_MOST_WAITING = 600.0  # seconds of a microphone that may wait to be transcribed
_LAGGING = 5.0  # seconds behind that are told
_BYTES = 2  # of a sample

Pieces = queue.Queue[NDArray[np.int16] | None | Exception]


def follow(live: LiveTranscriber, pieces: Pieces, take: Callable[[list[LiveEvent]], object], rate: int) -> None:
    """Feed what waits, all at once, until the end: when decoding is slower than the sound, its steps become longer."""
    start = time.monotonic()
    lags = False
    while (piece := pieces.get()) is not None:
        waiting: list[NDArray[np.int16] | Exception | None] = [piece]
        ended = False
        while not ended and not pieces.empty():
            waiting.append(pieces.get())
            ended = waiting[-1] is None
        samples = [each for each in waiting if isinstance(each, np.ndarray)]
        if samples:
            take(live.feed(np.concatenate(samples)))
        for each in waiting:
            if isinstance(each, Exception):
                raise each
        behind = min(pieces.qsize() * _PIECE, time.monotonic() - start - live.position)
        if (behind > _LAGGING) != lags:
            lags = not lags
            say(f"this machine lags {behind:.0f} s behind; nothing is lost" if lags else "it has caught up")
        if ended:
            return


@contextmanager
def standard_input(args: argparse.Namespace, stop: threading.Event) -> Iterator[Pieces]:
    """Pieces of standard input; it is not read faster than a few seconds ahead."""
    pieces: Pieces = queue.Queue(maxsize=300)
    frame = _BYTES * args.channels
    size = max(round(_PIECE * args.rate), 1) * frame

    def read() -> None:
        rest = b""
        while data := os.read(sys.stdin.fileno(), size):
            data = rest + data
            whole = len(data) - len(data) % frame
            rest = data[whole:]
            if whole:
                pieces.put(_samples(data[:whole], args.channels))
        if rest:
            pieces.put(AudioError("the sound ends within a sample", where="standard input"))
        pieces.put(None)

    threading.Thread(target=read, daemon=True).start()
    yield _ending(pieces, stop)


@contextmanager
def microphone(args: argparse.Namespace, stop: threading.Event) -> Iterator[Pieces]:
    """Pieces of a microphone."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise OptionError(
            "no microphone without sounddevice",
            where="microphone",
            found=error,
            hint="install the extra: pip install 'whisper-max[microphone]' (and PortAudio)",
        ) from error
    pieces: Pieces = queue.Queue()

    def take(data: Any, _frames: int, _time: object, status: Any) -> None:  # noqa: ANN401 - of sounddevice
        if status.input_overflow:
            say("the system dropped sound from the microphone")
        pieces.put(_samples(bytes(data), args.channels))
        if pieces.qsize() * _PIECE > _MOST_WAITING:
            pieces.put(AudioError("this machine is too slow", where="microphone", hint="take a smaller model"))
            raise sounddevice.CallbackStop

    device = int(args.input_device) if (args.input_device or "").isdecimal() else args.input_device
    try:
        with sounddevice.RawInputStream(
            samplerate=args.rate,
            blocksize=round(_PIECE * args.rate),
            device=device,
            channels=args.channels,
            dtype="int16",
            callback=take,
        ):
            say("listening; Ctrl-C ends it")
            yield _ending(pieces, stop)
    except sounddevice.PortAudioError as error:
        raise AudioError("the microphone can't be opened", where=device or "microphone", found=error) from error


def _ending(pieces: Pieces, stop: threading.Event) -> Pieces:
    """The pieces, with their end behind those that wait when ``stop`` is set."""

    def end() -> None:
        stop.wait()
        pieces.put(None)

    threading.Thread(target=end, daemon=True).start()
    return pieces


def _samples(data: bytes, channels: int) -> NDArray[np.int16]:
    samples = np.frombuffer(data, "<i2").astype(np.int16)
    return samples if channels == 1 else samples.reshape(-1, channels)
