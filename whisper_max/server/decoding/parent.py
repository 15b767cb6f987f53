"""The server's side: an upload in, its samples out, as a process of its own decodes them."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from io import FileIO

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.io import MOST_CHANNELS
from whisper_max.audio.reading import Reading
from whisper_max.audio.warnings import AudioWarning, Warn
from whisper_max.audio.waveform import SAMPLE_BYTES
from whisper_max.errors import AudioError
from whisper_max.server.decoding.frames import DECODE, DECODE_LATER, HEAD, KILL, LARGEST, ORDER, WANTED, Kind
from whisper_max.server.errors import fault

log = logging.getLogger(__name__)

PROGRAM = "from whisper_max.server.decoding.child import main; main()"
_SECRET = "WHISPER_MAX_"  # of variables, keys among them, that are not for who reads others' files
_STARTING = 60.0  # seconds for a process to begin, on a machine that is busy
_LOOK = 0.1  # seconds between two looks whether the recording is still wanted
_BROKEN = "ends the process that decodes it"
_KINDS = {kind.value for kind in Kind}
_PARTS = ("expected", "found", "hint")  # of an error, besides what it is
_LONGEST_MESSAGE = 1000  # characters of what a process says of a recording


class Decoders:
    """Decodes uploads, each in a process of its own; from any thread.

    Args:
        memory: bytes that a process may take for its work.
        patience: seconds until its next samples, of the first ones as of all others.
        processor_seconds: of processor time for one recording.
    """

    def __init__(self, memory: int, patience: float, processor_seconds: int) -> None:
        self._memory = memory
        self._patience = patience
        self._processor_seconds = processor_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None

    def start(self) -> None:
        """Start the process that forks, so that the first upload need not wait for it; returns at once."""
        with self._lock:
            self._start()

    def decode(
        self, recording: FileIO, reading: Reading, warn: Warn, *, check: Callable[[], None], later: bool
    ) -> Generator[NDArray[np.float32], None, None]:
        """The pieces of an upload as they are decoded, float32 at 16 kHz; closed, it ends its process.

        (n,) each, or (n, n_channels) where the channels are to stay apart.

        Args:
            recording: a regular file at its start, opened unbuffered; it is not closed here.
            reading: how it is read: strictly or not, which track, and whether its channels stay apart.
            warn: told what is found in it.
            check: called again and again, also before the first piece; what it raises ends the process.
            later: decode it after all that is more urgent.

        Raises:
            AudioError: it is not decodable audio, or takes too long or too much memory, or ends the process.
            APIError: 500, a fault of ours.
        """
        pid = None
        n_channels = None if not reading.separate else 0
        with self._begin(recording, reading, later) as pipe:
            try:
                for kind, content in _frames(pipe, self._patience, check):
                    if kind is Kind.STARTED:
                        pid = int.from_bytes(content, "little")
                    elif kind is Kind.CHANNELS and reading.separate:
                        n_channels = _n_channels(content)
                    elif kind is Kind.SAMPLES:
                        yield _samples(content, n_channels)
                    elif kind is Kind.DONE:
                        return
                    else:
                        _tell(kind, content, warn)
            except _Ended as ended:
                if pid is None:
                    log.error("no process decodes: %s", ended)
                    raise fault() from ended
                log.warning("a recording was not decoded: %s", ended)
                raise _refused(str(ended)) from ended
            finally:
                if pid is not None:
                    self._kill(pid)

    def close(self) -> None:
        """End the process that forks; its forks end with it."""
        with self._lock:
            self._stop()

    # ---------------------------------------------------------------- the process that forks

    def _begin(self, recording: FileIO, reading: Reading, later: bool) -> socket.socket:
        """Order a fork, with how it is to read the recording; the socket brings what it says."""
        own, theirs = socket.socketpair()
        wanted = json.dumps({"strict": reading.strict, "track": reading.track, "separate": reading.separate}).encode()
        own.sendall(WANTED.pack(len(wanted)) + wanted)
        with theirs:
            try:
                self._order(DECODE_LATER if later else DECODE, 0, [recording.fileno(), theirs.fileno()])
            except OSError as error:  # the process that forks has just ended
                own.close()
                log.error("no process decodes: %s", error)
                raise fault() from error
        return own

    def _kill(self, pid: int) -> None:
        with suppress(OSError):  # then it died with the one that forks
            self._order(KILL, pid, [])

    def _order(self, kind: bytes, pid: int, files: list[int]) -> None:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            orders = self._orders
            if orders is not None:
                socket.send_fds(orders, [ORDER.pack(kind, pid)], files)

    def _start(self) -> None:
        self._stop()
        self._orders, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        arguments = (theirs.fileno(), self._memory, self._processor_seconds)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )

    def _stop(self) -> None:
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class _Ended(Exception):
    """A process says no more, or nothing that makes sense; the text is for the client."""


def _frames(pipe: socket.socket, patience: float, check: Callable[[], None]) -> Iterator[tuple[Kind, bytes]]:
    """The frames that come from a process, without end; arguments as ``Decoders`` and ``decode`` have them."""
    pipe.settimeout(_LOOK)
    yield Kind.STARTED, _read(pipe, HEAD.size + 4, _STARTING, check)[HEAD.size :]
    while True:
        kind, n_bytes = HEAD.unpack(_read(pipe, HEAD.size, patience, check))
        if kind not in _KINDS or n_bytes > LARGEST or (n_bytes % SAMPLE_BYTES and kind == Kind.SAMPLES.value):
            raise _Ended(_BROKEN)
        yield Kind(kind), _read(pipe, n_bytes, patience, check)


def _read(pipe: socket.socket, n_bytes: int, patience: float, check: Callable[[], None]) -> bytes:
    content = bytearray(n_bytes)
    left = memoryview(content)
    end = time.monotonic() + patience
    while left:
        check()
        try:
            n_read = pipe.recv_into(left)
        except TimeoutError:
            if time.monotonic() > end:
                raise _Ended(f"takes too long to decode: {patience:g} s without a sample") from None
            continue
        except OSError as error:  # it ended before it had read what was sent to it
            raise _Ended(_BROKEN) from error
        if n_read == 0:
            raise _Ended(_BROKEN)
        left = left[n_read:]
    return bytes(content)


def _n_channels(content: bytes) -> int:
    if len(content) != 1 or not 1 <= content[0] <= MOST_CHANNELS:
        raise _Ended(_BROKEN)
    return content[0]


def _samples(content: bytes, n_channels: int | None) -> NDArray[np.float32]:
    """A piece of one channel where ``n_channels`` is None, else of so many."""
    samples = np.frombuffer(content, np.float32)
    if n_channels is None:
        return samples
    if n_channels == 0 or len(samples) % n_channels:
        raise _Ended(_BROKEN)
    return samples.reshape(-1, n_channels)


def _tell(kind: Kind, content: bytes, warn: Warn) -> None:
    """Pass on what a process says of its recording, which may have taken it over: nothing is believed of its form."""
    if kind is Kind.FAULT:
        log.error("decoding failed: %s", content[:_LONGEST_MESSAGE].decode("utf-8", "replace"))
        raise fault()
    try:
        said = json.loads(content)
        if kind is Kind.WARNING:
            warn(AudioWarning(_short(said["kind"]), float(said["start"]), float(said["end"]), _short(said["message"])))
            return
        parts = {name: _short(part) for name, part in said.items() if name in _PARTS and part is not None}
        error = _refused(_short(said["what"]), **parts)
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise _Ended(_BROKEN) from wrong
    raise error


def _short(text: object) -> str:
    return str(text)[:_LONGEST_MESSAGE]


def _refused(what: str, **parts: str) -> AudioError:
    return AudioError(what, where="file", **parts)
