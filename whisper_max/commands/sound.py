"""Sound for ``live`` on the command line, from wherever it comes, a tenth of a second at a time.

Apart from the command itself, which is built with every parser and must not load NumPy.
"""

from __future__ import annotations

import argparse
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.formats.heads import HEAD, container_of, needs_more
from whisper_max.audio.stream import SoundStream, addressed_stream, piped_stream
from whisper_max.commands.console import say
from whisper_max.dims import SAMPLE_RATE
from whisper_max.errors import AudioError, OptionError

if TYPE_CHECKING:
    from whisper_max.audio.warnings import AudioWarning
    from whisper_max.live import LiveEvent, LiveTranscriber

_PIECE = 0.1  # seconds read at a time
_MOST_WAITING = 600.0  # seconds of a microphone that may wait to be transcribed
_LAGGING = 5.0  # seconds behind that are told
_BYTES = 2  # of a sample

MICROPHONE, STDIN = "microphone", "-"
_MOST_AHEAD = 300  # pieces that are read before they are transcribed

Pieces = queue.Queue[NDArray[np.int16] | NDArray[np.float32] | None | Exception]


def follow(live: LiveTranscriber, pieces: Pieces, take: Callable[[list[LiveEvent]], object]) -> None:
    """Feed what waits, all at once, until the end: when decoding is slower than the sound, its steps become longer."""
    start = time.monotonic()
    lags = False
    while (piece := pieces.get()) is not None:
        waiting: list[NDArray[np.int16] | NDArray[np.float32] | Exception | None] = [piece]
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


@dataclass(frozen=True)
class Source:
    """Where sound comes from. rate: samples in a second. pieces: (n,) or (n, channels), as they come."""

    rate: int
    channels: int
    pieces: Pieces


@contextmanager
def open_source(args: argparse.Namespace, stop: threading.Event) -> Iterator[Source]:
    """The sound that the command line names: standard input, an address, a file or pipe, or a microphone.

    Raises:
        AudioError: it can't be opened, or is no sound that can be read while it comes.
        OptionError: a rate or channels given for what has its own.
    """
    with ExitStack() as stack:
        if args.source == STDIN:
            yield _bytes_of(sys.stdin.fileno(), "standard input", args, stop)
        elif "://" in args.source:
            where = _without_secrets(args.source)
            yield _source_of(addressed_stream(args.source, where), where, args, stop)
        elif args.source != MICROPHONE and os.path.exists(args.source):
            yield _bytes_of(_opened(args.source), args.source, args, stop)
        else:
            device = args.input_device if args.source == MICROPHONE else args.source
            yield stack.enter_context(_microphone(args, device, stop))


def _opened(path: str) -> int:
    """A file descriptor that stays open until the process ends: a thread reads from it."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise AudioError("can't be read", where=path, found=error.strerror) from error


def _without_secrets(url: str) -> str:
    """An address without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _bytes_of(file: int, where: str, args: argparse.Namespace, stop: threading.Event) -> Source:
    """What comes out of a file descriptor: a container, or else 16-bit samples."""

    def read(n_bytes: int) -> bytes:
        """What is there, once something is; nothing at the end, and when it is to end."""
        while not stop.is_set():
            if select.select([file], [], [], _PIECE)[0]:
                return _read(file, n_bytes, where)
        return b""

    head = b""
    while needs_more(head) and (data := read(HEAD - len(head))):
        head += data
    container = container_of(head, where)
    if container is None:
        return _samples_of(read, head, where, args, stop)
    return _source_of(piped_stream(container, head, read, where), where, args, stop)


def _read(file: int, n_bytes: int, where: str) -> bytes:
    try:
        return os.read(file, n_bytes)
    except OSError as error:  # a folder
        raise AudioError("can't be read", where=where, found=error.strerror) from error


def _source_of(stream: SoundStream, where: str, args: argparse.Namespace, stop: threading.Event) -> Source:
    """A stream that tells its own rate and channels; it is not read faster than a few seconds ahead."""
    for name, given, own in (("rate", args.rate, stream.sampling_rate), ("channels", args.channels, stream.channels)):
        if given not in (None, own):
            hint = "it is for samples without a header"
            raise OptionError("the stream has another", where=name, expected=own, found=given, hint=hint)
    pieces: Pieces = queue.Queue(maxsize=_MOST_AHEAD)
    size = round(_PIECE * stream.sampling_rate)

    def read() -> None:
        waiting: list[NDArray[np.float32]] = []
        told: dict[tuple[str, float], AudioWarning] = {}
        try:
            for block in stream.blocks():
                waiting.append(block.samples)
                if sum(map(len, waiting)) >= size:
                    pieces.put(_joined(waiting))
                    waiting = []
                for warning in stream.warnings:
                    if (warning.kind, warning.start) not in told:
                        told[warning.kind, warning.start] = warning
                        say(f"{where}: {warning.message}")
        except Exception as error:  # whatever it is: who waits for the next piece would wait for ever
            waiting = _flushed(waiting, pieces)
            pieces.put(error)
        _flushed(waiting, pieces)
        for warning in stream.warnings:
            if told.get((warning.kind, warning.start)) != warning:  # it went on
                say(f"{where}: {warning.message}")
        pieces.put(None)

    threading.Thread(target=read, daemon=True).start()
    return Source(stream.sampling_rate, stream.channels, _ending(pieces, stop))


def _joined(blocks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    samples = np.concatenate(blocks)  # (n_samples, channels)
    return samples[:, 0] if samples.shape[1] == 1 else samples


def _flushed(blocks: list[NDArray[np.float32]], pieces: Pieces) -> list[NDArray[np.float32]]:
    if blocks:
        pieces.put(_joined(blocks))
    return []


def _samples_of(
    more: Callable[[int], bytes], head: bytes, where: str, args: argparse.Namespace, stop: threading.Event
) -> Source:
    """16-bit little-endian samples; they are not read faster than a few seconds ahead."""
    pieces: Pieces = queue.Queue(maxsize=_MOST_AHEAD)
    rate, channels = args.rate or SAMPLE_RATE, args.channels or 1
    frame = _BYTES * channels
    size = max(round(_PIECE * rate), 1) * frame

    def read() -> None:
        rest, data = b"", head
        try:
            while data:
                data = rest + data
                whole = len(data) - len(data) % frame
                rest = data[whole:]
                if whole:
                    pieces.put(_samples(data[:whole], channels))
                data = more(size)
            if rest:
                raise AudioError("the sound ends within a sample", where=where)
        except Exception as error:  # as above
            pieces.put(error)
        pieces.put(None)

    threading.Thread(target=read, daemon=True).start()
    return Source(rate, channels, _ending(pieces, stop))


@contextmanager
def _microphone(args: argparse.Namespace, name: str | None, stop: threading.Event) -> Iterator[Source]:
    """Pieces of a microphone."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise OptionError(
            "no microphone without sounddevice",
            where=args.source,
            found=error,
            hint="install the extra: pip install 'whisper-max[microphone]' (and PortAudio)",
        ) from error
    pieces: Pieces = queue.Queue()
    rate, channels = args.rate or SAMPLE_RATE, args.channels or 1
    clock = _Clock(rate)

    def take(data: Any, n_samples: int, time: Any, status: Any) -> None:  # noqa: ANN401 - of sounddevice
        missing = clock.missing(time, n_samples)
        if status.input_overflow:
            say(f"the system dropped {missing / rate:.1f} s of sound from the microphone")
            if missing:
                pieces.put(_samples(bytes(missing * channels * _BYTES), channels))
        pieces.put(_samples(bytes(data), channels))
        if pieces.qsize() * _PIECE > _MOST_WAITING:
            pieces.put(AudioError("this machine is too slow", where="microphone", hint="take a smaller model"))
            raise sounddevice.CallbackStop

    device = int(name) if name is not None and name.isdecimal() else name
    try:
        with sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=round(_PIECE * rate),
            device=device,
            channels=channels,
            dtype="int16",
            callback=take,
        ):
            say("listening; Ctrl-C ends it")
            yield Source(rate, channels, _ending(pieces, stop))
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no device of this name
        raise AudioError("the microphone can't be opened", where=device or "microphone", found=error) from error


class _Clock:
    """When samples of a device come, by its own time.

    Args:
        rate: samples in a second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next: float | None = None

    def missing(self, time: Any, n_samples: int) -> int:  # noqa: ANN401 - of sounddevice
        """How many samples were dropped before these, 0 where the device has no time."""
        start = float(getattr(time, "inputBufferAdcTime", 0.0) or 0.0)
        if start <= 0.0:
            return 0
        before, self._next = self._next, start + n_samples / self._rate
        return 0 if before is None else max(0, round((start - before) * self._rate))


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
