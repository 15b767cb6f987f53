"""Runs in processes of their own, and the machine that they ran on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.systems import Asked, system_of
from whisper_max.measure.peaks import processor

_BENCH = Path(__file__).resolve().parents[1]
PEER_PATH = os.pathsep.join(map(str, (_BENCH, _BENCH.with_name("reference"))))
"""Where a peer's interpreter finds these benchmarks, and how the reference is loaded."""


def run_child(name: str, audio: Path, python: str, asked: Asked) -> dict[str, Any]:
    """One run: what the child printed, with the time of the whole process, or what went wrong."""
    system = system_of(name)
    cores = sorted(os.sched_getaffinity(0))[: asked.threads]
    env = {**os.environ, "PYTHONPATH": PEER_PATH, "OMP_NUM_THREADS": str(asked.threads), **system.env}
    command = ["taskset", "-c", ",".join(map(str, cores)), python, "-m", "benchmarks.child"]
    arguments = [name, str(audio), asked.model, str(asked.weights), str(asked.threads)]
    begin = time.perf_counter()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=env)
    elapsed = time.perf_counter() - begin
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    result = json.loads(done.stdout.splitlines()[-1])
    return {**result, "process": elapsed - result.get("warm", 0.0)}  # from its start to its first transcript


def machine() -> dict[str, Any]:
    """What results depend on beside the software."""
    return {"platform": platform.platform(), "processor": processor(), "python": platform.python_version()}
