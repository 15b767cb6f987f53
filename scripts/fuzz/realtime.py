"""Events of ``/v1/realtime``, one a line; see ``Kind``."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from scripts.fuzz.kinds import Attempt, Kind
from scripts.fuzz.mutate import changed, changed_json
from scripts.fuzz.verdicts import ACCEPTED, FAULT, REFUSED, Verdict
from tests.support import patient, served
from whisper_max.server.realtime import socket as realtime

_FILE = "events.jsonl"
_LAST = "the last of the case"
_WAIT = 30.0  # seconds
_FAULTS = {1006, 1011}  # close codes: gone without one, and the server's fault

Event = dict[str, Any]


def seeds() -> dict[str, dict[str, bytes]]:
    """Sessions as clients lead them."""
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, 24000)
    speech = [_append(part) for part in np.array_split(np.concatenate([loud, np.zeros(24000)]), 10)]
    heard = {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": {"model": "whisper-1", "language": "en", "prompt": "Max"},
        "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500},
        "noise_reduction": None,
    }
    update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": heard}}}
    by_client = {"type": "session.update", "session": _without_turns(heard)}
    flat = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
    commit, clear = {"type": "input_audio_buffer.commit", "event_id": "a"}, {"type": "input_audio_buffer.clear"}
    sessions: dict[str, list[Event]] = {
        "turns": [update, *speech],
        "commits": [by_client, *speech, commit],
        "clears": [update, *speech[:3], clear, *speech, clear],
        "flat": [{"type": "transcription_session.update", "session": flat}, *speech, commit],
        "settings": [update, update, by_client],
    }
    return {name: {_FILE: b"\n".join(json.dumps(each).encode() for each in all)} for name, all in sessions.items()}


def _append(samples: np.ndarray[Any, np.dtype[np.float64]]) -> Event:
    pcm = (samples * 32767).astype("<i2").tobytes()
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


def _without_turns(heard: Event) -> Event:
    return {"type": "transcription", "audio": {"input": heard | {"turn_detection": None}}}


def change(_name: str, content: bytes, random: Random) -> bytes:
    """One to three events changed, repeated, moved or left out."""
    lines = content.split(b"\n")
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(lines))
        line = lines[place]
        what = random.random()
        if what < 0.6:
            lines[place] = changed_json(line, random)
        elif what < 0.85:
            lines[place] = changed(line, random).replace(b"\n", b" ")
        elif what < 0.95:
            lines.insert(random.randrange(len(lines) + 1), line)
        elif len(lines) > 1:
            del lines[place]
    return b"\n".join(lines)


@contextmanager
def opened() -> Iterator[Attempt]:
    """A server with a fake model and a fake ear that runs; what it logs below an error is no fault."""
    logging.basicConfig(level=logging.ERROR)
    setattr(realtime, "new_detector", lambda: lambda chunk: float(np.abs(chunk).max() > 0.1))  # noqa: B010
    with served.running() as server:
        yield lambda folder: _attempt(server.port, folder)


def _attempt(port: int, folder: Path) -> Verdict:
    """Send all, and an event whose answer says that all before it were heard."""
    refusals: list[str] = []
    address = f"ws://127.0.0.1:{port}/v1/realtime?intent=transcription"
    with connect(address, max_size=None, **patient.SOCKET) as socket:
        try:
            for line in (folder / _FILE).read_bytes().split(b"\n"):
                _send(socket, line)
            socket.send(json.dumps({"type": "nothing", "event_id": _LAST}))
            while True:
                event = json.loads(socket.recv(timeout=_WAIT))
                error = event.get("error") or {}
                if error.get("type") == "server_error":
                    return Verdict(FAULT, json.dumps(event))
                if error.get("event_id") == _LAST:
                    return Verdict(REFUSED if refusals else ACCEPTED, "; ".join(refusals[:3]))
                if event["type"] == "error":
                    refusals.append(error["message"])
        except TimeoutError:
            return Verdict(FAULT, f"no answer in {_WAIT:.0f} s")
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            return Verdict(FAULT if code in _FAULTS else REFUSED, f"closed with {code}")


def _send(socket: ClientConnection, line: bytes) -> None:
    try:
        socket.send(line.decode())
    except UnicodeDecodeError:
        socket.send(line)  # a binary message


KIND = Kind(seeds, change, opened, seconds=60.0, memory=8 << 30)
