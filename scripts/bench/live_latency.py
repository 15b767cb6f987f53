"""How late words come, and how right they are: recordings fed to the live transcriber at the pace of real time.

The clock is simulated: audio comes in pieces of 0.1 s of simulated time, and each call takes as much of it as it takes
of real time on this machine. Latencies are those of real pace, without the waiting. A word's latency is the time from
its end, as the model times it, to when it is committed. With ``--paced`` the clock is that of the wall, and this waits
for the audio as a microphone's user would.

    python scripts/bench/live_latency.py ../shared/audio/manifest.jsonl \\
        --json docs/measured/live_latency.json --figure docs/measured/live_latency.png

A model takes no new recording after ``--seconds``. The report is written after each recording, the figure at the end
as PNG and SVG.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import whisper_max
from whisper_max.audio.io import load_audio
from whisper_max.live import Committed, LiveTranscriber, LiveTranscript
from whisper_max.measure.evaluate import Errors, ManifestEntry, Normaliser, count_errors, read_manifest

RATE = 16000
CORES = len(os.sched_getaffinity(0))


def shared_time() -> float:
    """Seconds of the processor: the caller's own, and those of the threads that run graphs, side by side on all cores.

    What a call takes on a machine that does nothing else, where others disturb the clock of the wall.
    """
    own = time.thread_time()
    return own + (time.process_time() - own) / CORES


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time, "shared": shared_time}
CLOCK_HELP = "of a machine that others use, too: processor, by one thread, or shared by as many as there are cores"
PIECE = 1600  # samples
SILENCE = 1.5  # seconds after each recording: the speaker stops


def stream(
    live: LiveTranscriber, samples: NDArray[np.float32], clock_of: Callable[[], float], *, paced: bool = False
) -> tuple[list[float], float, float, str]:
    """Latency of each word, seconds of decoding, longest call and text of one recording."""
    clock, fed, busy, longest = 0.0, 0, 0.0, 0.0
    latencies = []
    transcript = LiveTranscript()
    began = time.perf_counter()
    while fed < len(samples):
        come = min(int(clock * RATE + 0.5) // PIECE * PIECE, len(samples))
        if come <= fed:
            clock = (fed + PIECE) / RATE
            if paced:
                time.sleep(max(0.0, began + clock - time.perf_counter()))
                clock = time.perf_counter() - began
            continue
        start = clock_of()
        events = live.feed(samples[fed:come])
        took = clock_of() - start
        fed, clock, busy, longest = come, clock + took, busy + took, max(longest, took)
        transcript.add(events)
        latencies += [clock - word.end for event in events if isinstance(event, Committed) for word in event.words]
    start = clock_of()
    events = live.finish()
    took = clock_of() - start
    clock, busy = clock + took, busy + took
    transcript.add(events)
    latencies += [clock - word.end for event in events if isinstance(event, Committed) for word in event.words]
    return latencies, busy, longest, transcript.result().text


def measure(
    name: str,
    entries: Sequence[ManifestEntry],
    limit: float,
    threads: int | None,
    clock_of: Callable[[], float],
    *,
    paced: bool = False,
    **how: Any,
) -> Iterator[dict[str, Any]]:
    """What is known after each recording; none is begun after ``limit`` seconds."""
    model_name, _, compute_type = name.partition(":")
    model = whisper_max.load_model(
        model_name, device="cpu", compute_type=compute_type or "auto", threads=threads, progress=print
    )
    normalise = Normaliser()
    options: dict[str, Any] = {"language": "en"}
    warm = np.concatenate([load_audio(entries[0].path)[: 2 * RATE], np.zeros(RATE, np.float32)])
    stream(model.live(**options), warm, clock_of)
    latencies, seconds, busy, longest, worked = [], 0.0, 0.0, 0.0, 0.0
    live_errors, offline_errors = Errors(), Errors()
    began = time.monotonic()
    for n_done, entry in enumerate(entries, 1):
        if time.monotonic() - began > limit:
            return
        samples = np.concatenate([load_audio(entry.path), np.zeros(round(SILENCE * RATE), np.float32)])
        before = time.process_time()
        late, took, most, text = stream(model.live(**how, **options), samples, clock_of, paced=paced)
        worked += time.process_time() - before
        latencies += late
        seconds, busy, longest = seconds + len(samples) / RATE, busy + took, max(longest, most)
        reference = normalise(entry.transcript, "en")
        offline = model.transcribe(entry.path, **options).text
        live_errors += count_errors(reference, normalise(text, "en"), "en")[0]
        offline_errors += count_errors(reference, normalise(offline, "en"), "en")[0]
        yield {
            "model": model_name,
            "target": model.target,
            **how,
            "recordings": n_done,
            "seconds": round(seconds, 1),
            "words": len(latencies),
            "latency_mean": round(float(np.mean(latencies)), 2),
            "latency_median": round(float(np.median(latencies)), 2),
            "latency_p95": round(float(np.percentile(latencies, 95)), 2),
            "wer_live": live_errors.rate,
            "wer_offline": offline_errors.rate,
            "busy": round(busy / seconds, 3),
            "processor": round(worked / seconds / CORES, 3),
            "longest_call": round(longest, 2),
            "latencies": [round(each, 3) for each in latencies],
        }


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for result in results:
        late = np.sort(result["latencies"])
        label = f"{result['model']}, {result['target']}: mean {result['latency_mean']} s, p95 {result['latency_p95']} s"
        axes.plot(late, np.arange(1, len(late) + 1) / len(late) * 100, label=label)
    axes.set(xlabel="seconds from a word's end to when it is committed", ylabel="% of words", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    for kind in (".png", ".svg"):
        figure.savefig(path.with_suffix(kind), dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--source", default="resemble-ai/Resemblyzer", help="key `source` of the recordings to take")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--models", nargs="+", default=["base:int8", "base:float32", "tiny.en:int8"])
    parser.add_argument("--step", type=float, default=None, help="default: that of the policy")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=CLOCK_HELP)
    parser.add_argument("--paced", action="store_true", help="wait for the audio: a run lasts as long as it does")
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--sure", type=float, default=0.4)
    parser.add_argument("--whole_windows", action="store_true", help="encode all of the audio at each step")
    parser.add_argument("--seconds", type=float, default=120.0, help="after which a model takes no new recording")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    entries = read_manifest(args.manifest).select({"source": args.source}, args.limit).entries
    results: dict[str, dict[str, Any]] = {}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    for name in args.models:
        how: dict[str, Any] = {"step": args.step, "policy": args.policy, "margin": args.margin, "sure": args.sure}
        how["whole_windows"] = args.whole_windows
        clock_of = CLOCKS[args.clock]
        for result in measure(name, entries, args.seconds, args.threads, clock_of, paced=args.paced, **how):
            results[name] = result
            args.json.write_text(json.dumps(_report(list(results.values()), args.clock), indent=1) + "\n")
        print({key: value for key, value in results[name].items() if key != "latencies"}, flush=True)
    if args.figure:
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(list(results.values()), args.figure)


def _report(results: Sequence[dict[str, Any]], clock: str) -> dict[str, Any]:
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": CORES},
        "versions": {
            "whisper_max": whisper_max.__version__,
            "max": version("max"),
            "python": platform.python_version(),
        },
        "clock": f"simulated: audio at real-time pace, calls take what they take by the clock {clock!r}",
        "results": results,
    }


if __name__ == "__main__":
    main()
