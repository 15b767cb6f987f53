"""Load the server and one of faster-whisper in turn: throughput, latency, memory, and fairness to short recordings.

    python scripts/server/load_server.py --peer_python PEER/bin/python              # 11 minutes at most
    python scripts/server/load_server.py --peer_python PEER/bin/python --fairness   # 4 minutes at most

Both servers run on loopback with the same weights, and one stands still while the other is measured. For each number
of clients in turn, each server gets recordings of mixed lengths without a pause. With ``--fairness``, each gets short
recordings before, beside and after an upload of three hours, which is cancelled. Writes ``server_load.json``, or
``server_fairness.json``, after each step, and the figure as ``.png`` and ``.svg``. The peer is ``peer_server.py``, run
by a Python that has faster-whisper, FastAPI, uvicorn and python-multipart. Needs the groups ``benchmark`` and ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from serverload.clips import LENGTHS, Clip, clips_of, long_recording, speech
from serverload.figures import draw_fairness, draw_load
from serverload.load import fairness, load, parts
from serverload.servers import REPOSITORY, Server, servers

import whisper_max


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base", help="must be on this machine, for the peer in CTranslate2's format")
    parser.add_argument("--compute_type", default="int8", help="of both servers")
    parser.add_argument("--peer_python", type=Path, help="a Python with faster-whisper; without it only ours is loaded")
    parser.add_argument("--fairness", action="store_true", help="measure short recordings beside a long one instead")
    parser.add_argument("--clients", type=lambda text: [int(each) for each in text.split(",")], default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, help="at most, of a server at each number of clients or of --fairness")
    parser.add_argument("--long_seconds", type=float, default=3 * 3600.0, help="length of the long recording")
    parser.add_argument(
        "--audio", type=Path, default=REPOSITORY.parent / "shared" / "audio", help="with manifest.jsonl"
    )
    parser.add_argument("--output_dir", type=Path, default=REPOSITORY / "docs" / "measured")
    parser.add_argument("--quick", action="store_true", help="less of everything, to see that it works")
    args = parser.parse_args()
    if args.quick:
        args.clients, args.long_seconds = [each for each in args.clients if each <= 4], min(args.long_seconds, 900.0)
    seconds = args.seconds or (12.0 if args.quick else 80.0)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    path = args.output_dir / ("server_fairness.json" if args.fairness else "server_load.json")
    samples = speech(args.audio, REPOSITORY / "samples" / "jfk.flac")
    clips = clips_of(samples)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.fairness:
            long_recording(samples, args.long_seconds, folder / "long.ogg")
        with servers(args.model, args.compute_type, args.peer_python, folder) as running:
            for server in running:
                with server.active():
                    asyncio.run(load(server.url, clips, 1, 4.0))  # warm-up
                server.rss.clear()
                server.seconds = 0.0
            results = {**_machine(args, running), "seconds": seconds}
            if args.fairness:
                results["what"] += f"; 5 s clips beside {args.long_seconds / 3600:g} h"
                _measure_fairness(running, clips, folder / "long.ogg", seconds, results, path)
            else:
                results["what"] += f"; clips of {LENGTHS[0]} to {LENGTHS[-1]} s"
                _measure_load(running, clips, args.clients, seconds, results, path)
    (draw_fairness if args.fairness else draw_load)(results, path)


def _machine(args: argparse.Namespace, running: Sequence[Server]) -> dict[str, Any]:
    return {
        "what": f"{args.model} {args.compute_type}, {os.cpu_count()} cores",
        "machine": platform.processor() or platform.machine(),
        "versions": {
            "whisper_max": whisper_max.__version__,
            "max": version("max"),
            "python": platform.python_version(),
        },
        "clients": args.clients,
        "long_seconds": args.long_seconds,
        "servers": {server.name: {} for server in running},
    }


def _measure_load(
    running: Sequence[Server],
    clips: Sequence[Clip],
    clients: Sequence[int],
    seconds: float,
    results: dict[str, Any],
    path: Path,
) -> None:
    for server in running:
        results["servers"][server.name] = {"levels": [], "rss": server.rss}
    for number in clients:
        for server in running:
            began = server.seconds
            with server.active():
                level = asyncio.run(load(server.url, clips, number, seconds)).summary()
            results["servers"][server.name]["levels"].append({"began": round(began, 1), **level})
            _write(results, path)
            print(server.name, {key: value for key, value in level.items() if key != "latencies"}, flush=True)


def _measure_fairness(
    running: Sequence[Server],
    clips: Sequence[Clip],
    long: Path,
    seconds: float,
    results: dict[str, Any],
    path: Path,
) -> None:
    short = next(clip for clip in clips if clip.seconds == 5.0)
    results["long_bytes"] = long.stat().st_size
    for server in running:
        start = time.monotonic()
        with server.active():
            result = asyncio.run(fairness(server.url, short, long, seconds, progress=server.ours))
        results["servers"][server.name] = {**result, "rss": server.rss}
        _write(results, path)
        for part, waits in parts(result).items():
            waits = waits or [np.nan]
            print(f"{server.name}, {part}: median {np.median(waits):.2f} s, most {max(waits):.2f} s")
        print(f"the long one: {result['long_seconds_done']} s done; {time.monotonic() - start:.0f} s", flush=True)


def _write(results: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
