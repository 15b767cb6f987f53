"""How cost grows: seconds and memory by the length of the audio, by the windows in a batch and by threads.

    python scripts/bench/cost_curves.py --audio RECORDINGS --json docs/measured/cost_curves.json
    python scripts/bench/cost_curves.py --audio RECORDINGS --lengths 1 3 --batches 1 4 --json curves.json

The recording is those of a folder (or one file), one after the other with short silences between, as long as is asked
for. Every point is a process of its own. The JSON is written after each: a run that was cut off goes on, and a run with
more points adds them. PNG and SVG are drawn at the end. Greedy, English, no fallback. Needs the group ``benchmark``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.curves import Point, draw_curves, points_of, table
from benchmarks.runs import machine, run_child
from benchmarks.systems import Asked, usable_threads
from memory_over_time import speech, write_recording
from tqdm import tqdm

from whisper_max.files.cache import cache_dir

LENGTHS, BATCHES = (1.0, 3.0, 10.0, 30.0, 60.0, 180.0), (1, 2, 4, 8, 16)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", required=True, help="a folder of recordings, or one")
    parser.add_argument("--json", type=Path, required=True, help="where the points are, and where new ones go")
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_types", nargs="+", default=["float32", "int8"], choices=["float32", "int8"])
    parser.add_argument("--lengths", nargs="*", type=float, default=LENGTHS, help="minutes")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--threads", nargs="*", type=int, default=tuple(range(1, usable_threads() + 1)))
    parser.add_argument("--minutes", type=float, default=10.0, help="of audio for the curves of batches and threads")
    args = parser.parse_args()
    for name in ("lengths", "batches", "threads", "minutes"):
        given = getattr(args, name)
        if any(each <= 0 for each in (given if name != "minutes" else [given])):
            parser.error(f"--{name}: expected numbers above 0, found {given}")
    if any(each > usable_threads() for each in args.threads):
        parser.error(f"--threads: expected at most {usable_threads()}, found {args.threads}")
    return args


def read_result(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    """What was measured before; the same audio, model and machine must have been."""
    if not path.exists():
        return {**known, "points": []}
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name, value in known.items():
        if result.get(name) != value:
            raise SystemExit(f"{path}: of another {name}: {result.get(name)}; move it away, or name another --json")
    return result


def main() -> int:
    """Measure the points that the JSON lacks, print the tables, draw the charts."""
    args = parse()
    usual = {"minutes": args.minutes, "threads": usable_threads()}
    known = {"kind": "curves", "audio": Path(args.audio).name, "model": args.model, **usual, "machine": machine()}
    result = read_result(args.json, known)
    have = {Point.of(each) for each in result["points"]}
    wanted = points_of(args.compute_types, args.lengths, args.batches, args.threads, args.minutes, usable_threads())
    work = cache_dir() / "benchmark" / "curves"
    work.mkdir(parents=True, exist_ok=True)
    failed = []
    for point in tqdm([point for point in wanted if point not in have], unit="point"):
        recording = work / f"{known['audio']}_{point.minutes:g}min.wav"
        write_recording(recording, point.minutes / 60, speech(args.audio))
        run = run_child(point.system, recording, sys.executable, Asked(args.model, work, point.threads))
        if "text" not in run:
            failed.append(f"{point}: {run.get('failed') or run['missing']}")
            continue
        result["points"].append(point.measured(run))
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n".join([table(result), *failed]))
    if result["points"]:
        draw_curves(result, args.json.with_suffix(""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
