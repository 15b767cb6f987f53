"""The process that forks one of its own for each recording; run by ``parent``, with a socket for its orders."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict
from fcntl import F_DUPFD, fcntl
from importlib import import_module
from io import FileIO
from pkgutil import walk_packages

from whisper_max.audio.io import decode_audio
from whisper_max.audio.reading import Reading
from whisper_max.errors import WhisperMaxError
from whisper_max.server.decoding.frames import DECODE_LATER, HEAD, KILL, ORDER, WANTED, Kind
from whisper_max.server.decoding.limits import leave_network, limit

_NICE = 5  # of what is decoded later: a third of the time that others get where all are busy
_RECORDING, _PIPE, _N_FILES = 3, 4, 5  # descriptors of a fork, after the three that every process has


def main() -> None:
    """Take orders until the parent is gone. Arguments: the socket's descriptor, and bytes and seconds for a fork."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    memory, seconds = int(sys.argv[2]), int(sys.argv[3])
    leave_network()  # before anything here has threads
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they reach the whole group; the parent drains first
        signal.signal(name, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody reads any more: end
    for package in ("whisper_max.audio", "av"):
        _import_all(package)
    gc.freeze()  # forks share these pages
    forks: set[int] = set()
    while order := _next_order(orders):
        kind, pid, files = order
        forks -= {each for each in forks if os.waitpid(each, os.WNOHANG)[0]}
        if kind == KILL:
            if pid in forks:
                os.kill(pid, signal.SIGKILL)
            continue
        with suppress(OSError):  # no more processes; the parent sees its pipe closed
            pid = os.fork()
            if pid == 0:
                orders.close()
                recording, pipe = files
                _decode_and_end(recording, pipe, memory, seconds, later=kind == DECODE_LATER)
            forks.add(pid)
        for file in files:
            os.close(file)


def _import_all(package: str) -> None:
    """Import a package with all in it that is installed: a fork, which opens no files, can't import what it needs."""
    with suppress(ImportError):
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            if module.name not in ("av.__main__", "av.datasets"):
                with suppress(ImportError):
                    import_module(module.name)


def _next_order(orders: socket.socket) -> tuple[bytes, int, list[int]] | None:
    order, files, *_ = socket.recv_fds(orders, ORDER.size, 2, socket.MSG_WAITALL)
    if len(order) < ORDER.size:
        return None
    kind, pid = ORDER.unpack(order)
    return kind, pid, files


def _decode_and_end(recording: int, pipe: int, memory: int, seconds: int, *, later: bool) -> None:
    """All that a fork does; it never returns."""
    places = {recording: _RECORDING, pipe: _PIPE}  # each may stand in the other's, so that they move aside first
    status = 1
    try:
        for file, place in [(fcntl(file, F_DUPFD, _N_FILES), place) for file, place in places.items()]:
            os.dup2(file, place)
        if later:
            os.nice(_NICE)
        limit(memory, seconds, _N_FILES)
        _decode(FileIO(_RECORDING), FileIO(_PIPE, "r+b"))
        status = 0
    finally:
        os._exit(status)


def _decode(recording: FileIO, pipe: FileIO) -> None:
    def say(kind: Kind, content: bytes = b"") -> None:
        left = memoryview(HEAD.pack(kind.value, len(content)) + content)
        while left:
            left = left[pipe.write(left) :]

    try:
        say(Kind.STARTED, os.getpid().to_bytes(4, "little"))
        (n_bytes,) = WANTED.unpack(pipe.read(WANTED.size))
        reading = Reading("file", **json.loads(pipe.read(n_bytes)))
        for number, piece in enumerate(decode_audio(recording, reading)):
            if reading.separate and number == 0:
                say(Kind.CHANNELS, bytes([piece.shape[1]]))
            say(Kind.SAMPLES, piece.tobytes())
        for warning in reading.warnings:
            say(Kind.WARNING, json.dumps(asdict(warning)).encode())
    except WhisperMaxError as error:
        parts = {"what": error.what, "expected": error.expected, "found": error.found, "hint": error.hint}
        shown = {name: None if part is None else str(part) for name, part in parts.items()}
        say(Kind.REFUSED, json.dumps(shown).encode())
    except MemoryError:
        say(Kind.REFUSED, json.dumps({"what": "takes more memory than an upload may"}).encode())
    except Exception as error:  # told to the parent, which logs it
        say(Kind.FAULT, repr(error).encode("utf-8", "replace"))
    else:
        say(Kind.DONE)
