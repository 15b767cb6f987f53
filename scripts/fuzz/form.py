"""Forms of ``/v1/audio/transcriptions``, headers and all, byte by byte; see ``Kind``."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from scripts.fuzz.audio import seeds as recordings
from scripts.fuzz.kinds import Attempt, Kind
from scripts.fuzz.mutate import changed
from scripts.fuzz.verdicts import ACCEPTED, FAULT, REFUSED, Verdict
from tests.support import served

_BOUNDARY = "----fuzz"
_FILE = "request"
_FIELDS: dict[str, dict[str, str]] = {
    "plain": {"model": "whisper-1"},
    "words": {
        "model": "whisper-1",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
        "temperature": "0.2",
        "language": "en",
        "prompt": "Max, Mojo",
    },
    "stream": {"model": "whisper-1", "stream": "true", "response_format": "json"},
    "subtitles": {"model": "whisper-1", "response_format": "srt"},
    "options": {
        "model": "whisper-1",
        "beam_size": "2",
        "patience": "1.5",
        "suppress_tokens": "-1,50",
        "vad": "true",
        "clip_timestamps": "0,1",
    },
}
_UPLOADS = ("pcm.wav", "mono.flac", "vorbis.ogg", "cbr.mp3", "av-aac.m4a")


def seeds() -> dict[str, dict[str, bytes]]:
    """A request for each set of fields, with recordings of several formats, and one with a length in chunks."""
    made = recordings()
    uploads = {name: made[name][name] for name in _UPLOADS if name in made}
    requests = {
        f"{name}-{upload}": _request(_form(fields, upload, content))
        for name, fields in _FIELDS.items()
        for upload, content in uploads.items()
    }
    requests["chunked"] = _chunked(_form(_FIELDS["plain"], "pcm.wav", uploads["pcm.wav"]))
    return {name: {_FILE: content} for name, content in requests.items()}


def _form(fields: dict[str, str], name: str, content: bytes) -> bytes:
    parts = [f'name="{field}"\r\n\r\n{value}'.encode() for field, value in fields.items()]
    parts.append(f'name="file"; filename="{name}"\r\nContent-Type: audio/wav\r\n\r\n'.encode() + content)
    start = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    return b"".join(start + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()


def _head(*lines: str) -> bytes:
    first = ("POST /v1/audio/transcriptions HTTP/1.1", "Host: 127.0.0.1", "Connection: close")
    kind = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"
    return "\r\n".join((*first, kind, *lines, "", "")).encode()


def _request(form: bytes) -> bytes:
    return _head(f"Content-Length: {len(form)}") + form


def _chunked(form: bytes) -> bytes:
    chunks = (form[start : start + 4096] for start in range(0, len(form), 4096))
    sent = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    return _head("Transfer-Encoding: chunked") + sent + b"0\r\n\r\n"


def change(_name: str, content: bytes, random: Random) -> bytes:
    """Another body of the right length, or anything else than that."""
    head, _, body = content.partition(b"\r\n\r\n")
    if random.random() < 0.3 or b"Content-Length" not in head:
        return changed(content, random)
    return _request(changed(body, random))


@contextmanager
def opened() -> Iterator[Attempt]:
    """A server with a fake model that runs; what it logs below an error is no fault."""
    logging.basicConfig(level=logging.ERROR)
    with served.running(idle_timeout=4.0, decode_timeout=30.0, max_upload=8, max_seconds=60.0) as server:
        yield lambda folder: _attempt(server.port, folder)


def _attempt(port: int, folder: Path) -> Verdict:
    """Send it and read the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=45) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has seen enough; what it says is there to be read
            connection.sendall((folder / _FILE).read_bytes())
        answer = _read(connection)
    return _judge(answer)


def _read(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while data := connection.recv(1 << 16):
            answer += data
    except ConnectionResetError:  # bytes that it did not want to read were still under way
        pass
    except TimeoutError:
        return b"no end of: " + answer
    return answer


def _judge(answer: bytes) -> Verdict:
    """No fault of the server's, and an error in OpenAI's shape."""
    if not answer:
        return Verdict(REFUSED, "closed without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    line = head.split(b"\r\n")[0].decode(errors="replace")
    status = line.split(" ")[1] if line.startswith("HTTP/1.1 ") else "0"
    if not 200 <= int(status) < 500 or b"Traceback" in body or b'"internal_error"' in body:
        return Verdict(FAULT, line + "\n" + body[:500].decode(errors="replace"))
    if int(status) < 400:
        return Verdict(ACCEPTED, line)
    if b"application/json" in head and set(json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])) != {"error"}:
        return Verdict(FAULT, "an error in another shape: " + body[:500].decode(errors="replace"))
    return Verdict(REFUSED, f"{line}: {body[:300].decode(errors='replace')}")


KIND = Kind(seeds, change, opened, seconds=60.0, memory=8 << 30)
