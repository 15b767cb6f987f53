"""Speed and accuracy beside the peers: same machine, same audio, same weights, same threads, runs in turn.

    python scripts/benchmark.py samples/jfk.flac --rounds 3 --json docs/results/jfk.json
    python scripts/benchmark.py chapter.flac --reference chapter.txt --systems ours-int8 openvino-int8 \
        --python openvino=ov/bin/python --python faster-whisper=peers/bin/python

Every run is a process of its own, so that load, memory and the whole process's time are its own. Systems take turns
(A B C, A B C, ...); the table shows medians. A peer may live in an environment of its own (``--python FAMILY=PATH``,
or ``--peers-python PATH`` for all of them); one that is not installed is named and left out, one that fails makes the
exit status 1. Weights: ``base``; greedy, English, no fallback. Ours reads the file within its time, the peers too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import soundfile
from benchmarks.report import draw, summarise, table
from benchmarks.systems import FAMILIES, SYSTEMS, usable_threads
from benchmarks.weights import make_weights
from tqdm import tqdm

from whisper_max.cache import cache_dir

SCRIPTS = Path(__file__).resolve().parent


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--reference", type=Path, help="the transcript, for the word error rate")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of all peers but those named")
    parser.add_argument("--python", action="append", default=[], metavar="FAMILY=PATH", help=", ".join(FAMILIES))
    parser.add_argument("--json", type=Path, help="where to write the summaries; a chart goes beside it")
    return parser.parse_args()


def interpreters(args: argparse.Namespace) -> dict[str, str]:
    """The interpreter of each family."""
    pythons = {family: sys.executable if family == "ours" else args.peers_python for family in FAMILIES}
    for each in args.python:
        family, equals, path = each.partition("=")
        if family not in pythons or not equals:
            raise SystemExit(f"--python: expected one of {', '.join(FAMILIES)} and =PATH, found {each!r}")
        pythons[family] = path
    return pythons


def run_child(name: str, audio: Path, python: str, weights: Path, threads: int) -> dict[str, Any]:
    """One run: what the child printed, with the time of the whole process, or what went wrong."""
    system = SYSTEMS[name]
    cores = sorted(os.sched_getaffinity(0))[:threads]
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": str(threads), **system.env}
    command = ["taskset", "-c", ",".join(map(str, cores)), python, "-m", "benchmarks.child"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, name, str(audio), str(weights), str(threads)], capture_output=True, text=True, check=False, env=env
    )
    elapsed = time.perf_counter() - begin
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    result = json.loads(done.stdout.splitlines()[-1])
    return {**result, "process": elapsed - result.get("warm", 0.0)}  # from its start to its first transcript


def main() -> int:
    """Make the peers' weights, run the systems in turn, print the table, write the JSON and the chart."""
    args = parse()
    pythons = interpreters(args)
    folder = cache_dir() / "benchmark"
    kinds = {kind for name in args.systems if (kind := SYSTEMS[name].weights) is not None}
    conversions = make_weights(kinds, folder, pythons)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.systems}
    out: dict[str, str] = {}
    failed = False
    for name in tqdm([name for _ in range(args.rounds) for name in args.systems], unit="run"):
        if name in out:
            continue
        system = SYSTEMS[name]
        run = run_child(name, args.audio, pythons[system.family], folder / (system.weights or ""), args.threads)
        if "text" in run:
            runs[name].append(run)
        else:
            out[name] = run.get("missing") or f"failed: {run['failed']}"
            failed |= "failed" in run
    reference = args.reference.read_text(encoding="utf-8") if args.reference else None
    result = {
        "audio": args.audio.name,
        "seconds": soundfile.info(args.audio).duration,
        "machine": {
            "platform": platform.platform(),
            "processor": processor(),
            "threads": args.threads,
            "python": platform.python_version(),
        },
        "conversions": {kind: seconds for kind, seconds in conversions.items() if kind in kinds},
        "missing": out,
        "summaries": {
            name: {**summarise(done, reference), "note": SYSTEMS[name].note} for name, done in runs.items() if done
        },
    }
    machine = result["machine"]
    print(f"{machine['processor']}, {machine['threads']} threads, {args.rounds} rounds in turn, {result['audio']}\n")
    print(table(result))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")
        draw(result, args.json)
    return 1 if failed else 0


def processor() -> str:
    """The processor's name, and of what may matter here whether it has it."""
    info = Path("/proc/cpuinfo").read_text()
    name = next(line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name"))
    flags = next(line for line in info.splitlines() if line.startswith("flags")).split()
    has = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if flag in flags]
    return f"{name} ({', '.join(has)})"


if __name__ == "__main__":
    sys.exit(main())
