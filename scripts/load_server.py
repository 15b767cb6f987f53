"""Load the server and one of faster-whisper: throughput, latency, memory, and fairness to short requests.

    python scripts/load_server.py --peer_python ENV_WITH_FASTER_WHISPER/bin/python [--quick]

Each server is started on loopback, alone, with the same weights; 1, 4, 16 and 64 clients then send recordings of mixed
lengths without a pause, each number of clients for the same time. After that a long recording is uploaded, and one
client goes on sending short ones. Writes ``server_load.json`` and ``server_load.png``. The peer is ``peer_server.py``
(speaches is not on the package index), run by a Python that has faster-whisper, FastAPI and uvicorn.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile
from numpy.typing import NDArray

from whisper_max.audio.io import load_audio
from whisper_max.checkpoint import resolve

REPOSITORY = Path(__file__).resolve().parents[1]
RATE = 16000
LENGTHS = (3, 5, 10, 15, 30, 60)  # seconds of the recordings
SAMPLE_EVERY = 0.5  # seconds between two measurements of memory


@dataclass
class Level:
    """What came of one number of clients, in seconds and bytes."""

    clients: int
    wall: float
    audio: float
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def summary(self) -> dict[str, Any]:
        marks = dict(zip(("p50", "p95", "p99"), np.percentile(self.latencies or [np.nan], [50, 95, 99]), strict=True))
        return {
            "clients": self.clients,
            "requests": len(self.latencies),
            "refused": self.refused,
            "failed": self.failed,
            "wall_seconds": round(self.wall, 2),
            "audio_seconds_per_second": round(self.audio / self.wall, 3),
            **{name: round(float(value), 3) for name, value in marks.items()},
        }


# ---------------------------------------------------------------- recordings


def speech(folder: Path | None) -> NDArray[np.float32]:
    """Speech to cut recordings from: a few minutes of the collection's clips, or the sample over and over."""
    paths = [REPOSITORY / "samples" / "jfk.flac"]
    if folder is not None and (folder / "manifest.jsonl").is_file():
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        english = [entry["path"] for entry in entries if entry.get("language") == "en" and entry["seconds"] <= 30]
        paths = [folder / path for path in english[:30]] or paths
    clips = [load_audio(path) for path in paths]
    return np.concatenate(clips * max(1, 1 + int(180 * RATE // sum(map(len, clips)))))


def recordings(samples: NDArray[np.float32], n: int) -> list[tuple[float, bytes]]:
    """``n`` recordings of mixed lengths, each with its seconds, always the same."""
    rng = random.Random(1)
    made = []
    for i in range(n):
        seconds = LENGTHS[i % len(LENGTHS)]
        start = rng.randrange(max(1, len(samples) - seconds * RATE))
        made.append((float(seconds), as_file(samples[start : start + seconds * RATE], "WAV")))
    return made


def as_file(samples: NDArray[np.float32], format: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format, subtype="PCM_16")
    return file.getvalue()


def long_recording(samples: NDArray[np.float32], seconds: float) -> bytes:
    times = 1 + int(seconds * RATE // len(samples))
    return as_file(np.tile(samples, times)[: round(seconds * RATE)], "FLAC")


# ---------------------------------------------------------------- servers


class Memory:
    """Samples the resident memory of a process and its children until it is told to stop."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._start = time.monotonic()
        self._end = threading.Event()
        self.samples: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(SAMPLE_EVERY):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.samples.append((time.monotonic() - self._start, sum(each.memory_info().rss for each in tree)))
            except psutil.NoSuchProcess:
                return

    def stop(self) -> list[tuple[float, int]]:
        self._end.set()
        self._thread.join()
        return self.samples


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready, for as long as the context."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY) as process:
        try:
            end = time.monotonic() + 900
            while time.monotonic() < end:
                if process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended: {log.read_text(errors='replace')[-2000:]}")
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.5)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def peer_weights(model: str, folder: Path) -> Path:
    """The checkpoint as the folder that faster-whisper reads."""
    files = resolve(model, offline=True)
    if files.format != "ctranslate2":
        raise SystemExit(f"{model} is here as {files.format}; the peer reads ctranslate2")
    with (folder / "model.bin").open("wb") as whole:
        for part in files.weights:
            whole.write(part.read_bytes())
    for name, path in files.companions.items():
        shutil.copyfile(path, folder / name)
    return folder


# ---------------------------------------------------------------- load


async def load(url: str, clips: list[tuple[float, bytes]], clients: int, seconds: float) -> Level:
    """So many clients send recordings, one after the other, for so long; what began in time is finished."""
    level = Level(clients, 0.0, 0.0)
    start = time.monotonic()

    async def client(number: int, http: httpx.AsyncClient) -> None:
        order = random.Random(number)
        while time.monotonic() - start < seconds:
            length, audio = order.choice(clips)
            began = time.monotonic()
            answer = await post(http, url, audio, "a.wav")
            if answer.status_code == 200:
                level.latencies.append(time.monotonic() - began)
                level.audio += length
            elif answer.status_code == 429:
                level.refused += 1
                await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
            else:
                level.failed += 1

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=1800, limits=limits) as http:
        await asyncio.gather(*(client(number, http) for number in range(clients)))
    level.wall = time.monotonic() - start
    return level


async def post(http: httpx.AsyncClient, url: str, audio: bytes, name: str) -> httpx.Response:
    data = {"model": "whisper-1", "language": "en"}
    return await http.post(f"{url}/v1/audio/transcriptions", data=data, files={"file": (name, audio)})


async def fairness(url: str, short: bytes, long: bytes, n: int, seconds: float) -> dict[str, Any]:
    """Latencies of a short recording alone, and while a long one is transcribed (for so many seconds at most)."""
    async with httpx.AsyncClient(timeout=3600) as http:

        async def timed() -> float:
            start = time.monotonic()
            (await post(http, url, short, "short.wav")).raise_for_status()
            return time.monotonic() - start

        alone = [await timed() for _ in range(n)]
        uploading = asyncio.create_task(post(http, url, long, "long.flac"))
        await asyncio.sleep(2)
        beside: list[float] = []
        start = time.monotonic()
        while not uploading.done() and time.monotonic() - start < seconds:
            beside.append(await timed())
        finished = uploading.done()
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
    return {"alone": alone, "beside_the_long_one": beside, "long_one_finished": finished}


def measure(
    command: list[str], port: int, args: argparse.Namespace, clips: list[tuple[float, bytes]], long: bytes
) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, serving(command, port, Path(folder) / "log") as process:
        asyncio.run(load(url, clips, 1, 3.0))  # warm-up
        memory = Memory(process.pid)
        levels, marks = [], []
        for clients in args.clients:
            marks.append((memory.samples[-1][0] if memory.samples else 0.0, clients))
            levels.append(asyncio.run(load(url, clips, clients, args.seconds)).summary())
            print(json.dumps(levels[-1]), flush=True)
        samples = memory.stop()
        five = next(audio for seconds, audio in clips if seconds == 5.0)
        fair = asyncio.run(fairness(url, five, long, 5, args.seconds))
        print(
            "5 s alone, beside a long one:", [round(float(np.median(each or [np.nan])), 2) for each in fair_pair(fair)]
        )
    return {"levels": levels, "rss": samples, "rss_marks": marks, "fairness": fair}


def fair_pair(fair: dict[str, Any]) -> tuple[list[float], list[float]]:
    return fair["alone"], fair["beside_the_long_one"]


# ---------------------------------------------------------------- figure


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for (name, result), colour in zip(results["servers"].items(), ("tab:blue", "tab:orange"), strict=False):
        clients = [level["clients"] for level in result["levels"]]
        speeds = [level["audio_seconds_per_second"] for level in result["levels"]]
        axes[0, 0].plot(clients, speeds, "o-", label=name, color=colour)
        for mark, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
            seconds = [level[mark] for level in result["levels"]]
            axes[0, 1].plot(clients, seconds, style, marker="o", label=f"{name} {mark}", color=colour)
        axes[1, 0].plot([t for t, _ in result["rss"]], [b / 2**20 for _, b in result["rss"]], label=name, color=colour)
    names = list(results["servers"])
    data = [each for name in names for each in fair_pair(results["servers"][name]["fairness"])]
    labels = [f"{name}\n{what}" for name in names for what in ("alone", "beside a long one")]
    axes[1, 1].boxplot([each or [np.nan] for each in data], tick_labels=labels)
    axes[0, 0].set(
        title="Throughput", xlabel="clients", ylabel="audio seconds per second", xscale="log", ylim=(0, None)
    )
    axes[0, 1].set(title="Latency", xlabel="clients", ylabel="seconds", xscale="log", yscale="log")
    axes[1, 0].set(title="Resident memory", xlabel="seconds", ylabel="MiB", ylim=(0, None))
    axes[1, 1].set(title="A 5 s request", ylabel="seconds", ylim=(0, None))
    for axis in axes.flat[:3]:
        axis.legend(fontsize="small")
    figure.suptitle(results["what"])
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="base", help="name of the model, which must be on this machine in CTranslate2"
    )
    parser.add_argument("--compute_type", default="float32", help="of both servers")
    parser.add_argument("--peer_python", type=Path, help="a Python with faster-whisper; without it only ours is loaded")
    parser.add_argument("--clients", type=lambda text: [int(each) for each in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=90.0, help="of each number of clients")
    parser.add_argument("--long_seconds", type=float, default=3 * 3600.0, help="length of the long recording")
    parser.add_argument("--audio", type=Path, default=REPOSITORY.parent / "shared" / "audio")
    parser.add_argument("--output_dir", type=Path, default=REPOSITORY / "docs" / "results")
    parser.add_argument(
        "--quick", action="store_true", help="a minute: 1 and 4 clients, a long recording of 10 minutes"
    )
    args = parser.parse_args()
    if args.quick:
        args.clients, args.seconds, args.long_seconds = [1, 4], 6.0, 600.0
    samples = speech(args.audio)
    clips, long = recordings(samples, 24), long_recording(samples, args.long_seconds)
    port = free_port()
    ours = [sys.executable, "-m", "whisper_max", "serve", "--port", str(port), "--model", args.model]
    commands = {
        "whisper_max": (port, [*ours, "--offline", "--compute_type", args.compute_type, "--max_requests", "128"])
    }
    weights = tempfile.TemporaryDirectory()
    if args.peer_python is not None:
        port = free_port()
        folder = peer_weights(args.model, Path(weights.name))
        peer = [str(args.peer_python), str(REPOSITORY / "scripts" / "peer_server.py"), "--model", str(folder)]
        commands["faster-whisper"] = (port, [*peer, "--port", str(port), "--compute_type", args.compute_type])
    results: dict[str, Any] = {
        "what": f"{args.model} {args.compute_type}, {os.cpu_count()} cores, clips of {LENGTHS[0]} to {LENGTHS[-1]} s",
        "long_seconds": args.long_seconds,
        "servers": {},
    }
    for name, (port, command) in commands.items():
        print(name, flush=True)
        results["servers"][name] = measure(command, port, args, clips, long)
    weights.cleanup()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "server_load.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, args.output_dir / "server_load.png")


if __name__ == "__main__":
    main()
