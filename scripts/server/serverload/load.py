"""Clients that send recordings: many at once, or short ones beside a very long one."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from serverload.clips import Clip

PAUSE = 0.25  # seconds between two short recordings beside the long one


@dataclass
class Level:
    """What came of one number of clients, in seconds.

    latencies: of requests that were answered. unfinished: how long those had waited that were given up at the end.
    """

    clients: int
    wall: float = 0.0
    audio: float = 0.0
    latencies: list[float] = field(default_factory=list)
    unfinished: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def summary(self) -> dict[str, Any]:
        """Percentiles are lower bounds where some are unfinished: a request given up counts as long as it waited."""
        waits = self.latencies + self.unfinished or [np.nan]
        marks = dict(zip(("p50", "p95", "p99"), np.percentile(waits, [50, 95, 99]), strict=True))
        return {
            "clients": self.clients,
            "requests": len(self.latencies),
            "unfinished": len(self.unfinished),
            "refused": self.refused,
            "failed": self.failed,
            "wall_seconds": round(self.wall, 2),
            "requests_per_second": round(len(self.latencies) / self.wall, 3),
            "audio_seconds_per_second": round(self.audio / self.wall, 3),
            **{name: round(float(value), 3) for name, value in marks.items()},
            "latencies": [round(each, 3) for each in sorted(self.latencies)],
        }


async def load(url: str, clips: Sequence[Clip], clients: int, seconds: float) -> Level:
    """So many clients send recordings, each its next one when the last is answered.

    They begin new ones for half of the seconds; what is not answered when all are over is given up.
    """
    level = Level(clients)
    start = time.monotonic()

    async def client(number: int, http: httpx.AsyncClient) -> None:
        order = random.Random(number)
        while time.monotonic() - start < seconds / 2:
            clip = order.choice(clips)
            began = time.monotonic()
            try:
                async with asyncio.timeout(start + seconds - began):
                    answer = await post(http, url, clip.audio)
            except TimeoutError:
                level.unfinished.append(time.monotonic() - began)
                return
            except httpx.TransportError:
                level.failed += 1
                continue
            if answer.status_code == 200:
                level.latencies.append(time.monotonic() - began)
                level.audio += clip.seconds
            elif answer.status_code == 429:
                level.refused += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            else:
                level.failed += 1

    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=clients)) as http:
        await asyncio.gather(*(client(number, http) for number in range(clients)))
    level.wall = time.monotonic() - start
    return level


async def post(http: httpx.AsyncClient, url: str, audio: bytes) -> httpx.Response:
    data = {"model": "whisper-1", "language": "en"}
    return await http.post(f"{url}/v1/audio/transcriptions", data=data, files={"file": ("a.wav", audio)})


async def fairness(url: str, clip: Clip, long: Path, seconds: float, *, progress: bool) -> dict[str, Any]:
    """A client sends a short recording over and over: alone, beside a long one, and after that was cancelled.

    Args:
        url: of the server.
        clip: the short one. long: the file of the long one.
        seconds: of all; an eighth alone, then six eighths beside the long one.
        progress: the server tells how far the long one is.

    Returns:
        ``short``: (seconds since the upload of the long one began, latency) of each; ``given_up``: the first of these
        for those that were not answered; ``cancelled_after`` so many seconds, when ``long_seconds_done`` of the long
        one were done; ``long_first_after`` so many seconds its first segments came (None where it is not told).
    """
    short: list[tuple[float, float]] = []
    given_up: list[float] = []
    far: dict[str, float | None] = {"first": None, "done": None}
    upload = time.monotonic() + seconds / 8

    async def until(end: float) -> None:
        while (began := time.monotonic()) < end and not uploading.done():
            try:
                async with asyncio.timeout(end - began + seconds / 8):
                    (await post(http, url, clip.audio)).raise_for_status()
            except TimeoutError:
                given_up.append(round(began - upload, 3))
            short.append((round(began - upload, 3), round(time.monotonic() - began, 3)))
            await asyncio.sleep(PAUSE)

    async with httpx.AsyncClient(timeout=None) as http:
        uploading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await until(upload)
        late = time.monotonic() - upload
        short[:] = [(round(at - late, 3), took) for at, took in short]
        upload += late
        uploading = asyncio.create_task(_send_long(http, url, long, far if progress else None))
        await until(upload + seconds * 6 / 8)
        finished = uploading.done()
        if finished:
            uploading.result()
        uploading.cancel()
        with suppress(asyncio.CancelledError):
            await uploading
        cancelled = time.monotonic() - upload
        uploading = asyncio.get_running_loop().create_future()
        await until(upload + seconds * 7 / 8)
    return {
        "short": short,
        "given_up": given_up,
        "cancelled_after": round(cancelled, 3),
        "long_finished": finished,
        "long_first_after": None if far["first"] is None else round(far["first"] - upload, 3),
        "long_seconds_done": far["done"],
    }


async def _send_long(http: httpx.AsyncClient, url: str, long: Path, far: dict[str, float | None] | None) -> None:
    """Upload the long recording and read what comes, noting how far it is."""
    data = {"model": "whisper-1", "language": "en"}
    if far is not None:
        data |= {"stream": "true", "progress": "true"}
    with long.open("rb") as file:
        files = {"file": ("long.ogg", file)}
        async with http.stream("POST", f"{url}/v1/audio/transcriptions", data=data, files=files) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if far is not None and line.startswith("data: "):
                    far["first"] = far["first"] or time.monotonic()
                    far["done"] = json.loads(line[len("data: ") :]).get("seconds_done", far["done"])


def parts(result: dict[str, Any]) -> dict[str, list[float]]:
    """The latencies of short recordings alone, beside the long one, and after it."""
    found: dict[str, list[float]] = {"alone": [], "beside the long one": [], "after it": []}
    for at, took in result["short"]:
        part = "alone" if at < 0 else "beside the long one" if at < result["cancelled_after"] else "after it"
        found[part].append(took)
    return found
