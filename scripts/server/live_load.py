"""How late words come where many speak to a server at once, each at the pace of real time, over loopback.

Each client speaks recordings of a manifest with a pause after each, at 24 kHz in pieces of 0.1 s; they begin one after
the other within a second. A word's latency is the time from its end, as ``completed`` times it, until the delta with
its last letter has come. Nothing is simulated: others that use the machine make it later. Needs the groups
``benchmark`` and ``dev``.

    python scripts/server/live_load.py ../shared/audio/manifest.jsonl --model tiny.en --json live_load.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from serverload.servers import Server, servers
from websockets.asyncio.client import ClientConnection, connect

from whisper_max.audio.io import load_audio
from whisper_max.measure.evaluate import Errors, ManifestEntry, Normaliser, count_errors, read_manifest

RATE = 24000
PIECE = 0.1  # seconds
SILENCE = 1.5  # seconds after each recording
PATIENCE = 30.0  # seconds for the last words, once all is said
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass
class Client:
    """One who speaks. samples: (n_samples,) int16 at ``RATE``. late: seconds, of each word that came."""

    samples: NDArray[np.int16]
    said: str
    late: list[float] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    lag: float = 0.0
    began: float = 0.0
    _letters: dict[str, list[float]] = field(default_factory=dict)  # when each letter of an item came

    async def speak(self, url: str, after: float) -> None:
        """Speak it all, and listen until everything has come."""
        async with connect(url, max_size=None) as socket:
            await asyncio.sleep(after)
            speaking = asyncio.create_task(self._send(socket))
            async with asyncio.timeout(len(self.samples) / RATE + PATIENCE):
                await self._listen(socket)
            await speaking

    async def _send(self, socket: ClientConnection) -> None:
        heard = {"transcription": {"language": "en"}}
        settings = {"type": "transcription", "audio": {"input": heard}}
        await socket.send(json.dumps({"type": "session.update", "session": settings}))
        self.began, size = time.monotonic(), round(PIECE * RATE)
        for start in range(0, len(self.samples), size):
            piece = self.samples[start : start + size]
            await asyncio.sleep(self.began + (start + len(piece)) / RATE - time.monotonic())
            audio = base64.b64encode(piece.tobytes()).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message, now = json.loads(text), time.monotonic() - self.began
            kind = message["type"]
            if kind == f"{TRANSCRIPTION}.delta":
                self._letters.setdefault(message["item_id"], []).extend([now] * n_letters(message["delta"]))
            elif kind == f"{TRANSCRIPTION}.completed":
                self._note(message)
            elif kind == "whisper_max.lag":
                self.lag = max(self.lag, message["seconds"])
            elif kind == "error":
                if message["error"]["code"] != "input_audio_buffer_commit_empty":
                    raise SystemExit(f"the server refused what was sent: {message['error']['message']}")
                return  # nobody speaks any more, and all that was said has come

    def _note(self, completed: dict[str, Any]) -> None:
        came, n_before = self._letters.pop(completed["item_id"], []), 0
        for word in completed["words"]:
            n_before += n_letters(word["word"])
            if n_before:
                self.late.append(came[n_before - 1] - word["end"])
        self.heard.append(completed["transcript"])


def n_letters(text: str) -> int:
    """How many characters are no spaces."""
    return len("".join(text.split()))


def clients_of(entries: Sequence[ManifestEntry], n_clients: int, seconds: float) -> list[Client]:
    """Clients that speak for so many seconds at least, each beginning with another recording."""
    pause, clients = np.zeros(round(SILENCE * RATE), np.int16), []
    for number in range(n_clients):
        parts: list[NDArray[np.int16]] = []
        texts: list[str] = []
        while sum(map(len, parts)) < seconds * RATE:
            entry = entries[(number * 3 + len(texts)) % len(entries)]
            parts += [_at_rate(load_audio(entry.path)), pause]
            texts.append(entry.transcript)
        clients.append(Client(np.concatenate(parts), " ".join(texts)))
    return clients


def _at_rate(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples of 16 kHz at 24: a straight line between them is near enough for speech."""
    places = np.arange(len(samples) * RATE // 16000) * (16000 / RATE)
    return np.asarray(np.clip(np.interp(places, np.arange(len(samples)), samples), -1, 1) * 32767, np.int16)


async def load(server: Server, clients: Sequence[Client]) -> float:
    """Let all speak; returns the seconds that it took."""
    url, began = f"{server.url.replace('http', 'ws')}/v1/realtime?intent=transcription", time.monotonic()
    speaking = (client.speak(url, number / len(clients)) for number, client in enumerate(clients))
    await asyncio.gather(*speaking)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", default="resemble-ai/Resemblyzer", help="key `source` of the recordings to take")
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_type", default="int8")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0, help="that each speaks at least")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    entries = read_manifest(args.manifest).select({"source": args.source}).entries
    clients = clients_of(entries, args.clients, args.seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(args.model, args.compute_type, None, Path(folder)) as (server,),
        server.active(),
    ):
        asyncio.run(load(server, clients_of(entries, 1, 1.0)))  # loads what only live sessions need
        before = server.process.cpu_times()
        seconds = asyncio.run(load(server, clients))
        after = server.process.cpu_times()
    late = np.concatenate([client.late for client in clients])
    normalise, errors = Normaliser(), Errors()
    for client in clients:
        heard = normalise(" ".join(client.heard), "en")
        errors += count_errors(normalise(client.said, "en"), heard, "en")[0]
    worked = after.user + after.system - before.user - before.system
    result = {
        "model": args.model,
        "compute_type": args.compute_type,
        "clients": args.clients,
        "seconds": round(seconds, 1),
        "spoken": round(sum(len(client.samples) for client in clients) / RATE, 1),
        "words": len(late),
        "latency_mean": round(float(np.mean(late)), 2),
        "latency_median": round(float(np.median(late)), 2),
        "latency_p95": round(float(np.percentile(late, 95)), 2),
        "longest_lag": max(client.lag for client in clients),
        "wer_live": errors.rate,
        "busy": round(worked / seconds / len(os.sched_getaffinity(0)), 3),
    }
    print(result)
    args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
