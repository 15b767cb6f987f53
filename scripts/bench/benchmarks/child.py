"""One run of one system, in a process of its own: ``python -m benchmarks.child SYSTEM AUDIO MODEL WEIGHTS THREADS``.

Prints one line of JSON: seconds of loading, to the first text, of the first transcription and, where that is quick, of
another one; peak memory; versions; the transcript. Or why the system can't run here.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.systems import Asked, NotHere, system_of

QUICK = 20.0
"""Seconds below which a transcription is done once more, warm."""


def run(name: str, audio: Path, asked: Asked) -> dict[str, Any]:
    system = system_of(name)
    start = time.perf_counter()
    transcribe = system.load(asked)
    loaded = time.perf_counter()
    seen: list[float] = []
    text = transcribe(audio, lambda: seen.append(time.perf_counter()))
    first = time.perf_counter()
    result: dict[str, Any] = {"load": loaded - start, "first": first - loaded, "text": text}
    if seen:
        result["first_text"] = seen[0] - loaded
    if first - loaded < QUICK:
        transcribe(audio, lambda: None)
        result["warm"] = time.perf_counter() - first
    result["peak_mb"] = peak_mb()
    result["versions"] = {package: importlib.metadata.version(package) for package in system.packages}
    return result


def peak_mb() -> float:
    """The most memory this process held, MiB; not getrusage's figure, which starts from the parent's."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("no VmHWM in /proc/self/status")
    return int(found[1]) / 1024


def main() -> None:
    name, audio, model, weights, threads = sys.argv[1:]
    try:
        result = run(name, Path(audio), Asked(model, Path(weights), int(threads)))
    except (ModuleNotFoundError, NotHere) as error:
        result = {"missing": str(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
