"""Speed and accuracy beside the peers: same machine, same audio, same weights, same threads, runs in turn.

    python scripts/bench/benchmark.py samples/jfk.flac --rounds 3 --json docs/measured/jfk.json
    python scripts/bench/benchmark.py chapter.flac --reference chapter.txt --systems ours-int8 openvino-int8 \
        --python openvino=ov/bin/python --python faster-whisper=peers/bin/python

Every run is a process of its own, so that load, memory and the whole process's time are its own. Systems take turns
(A B C, A B C, ...); the table shows medians. A peer may live in an environment of its own (``--python FAMILY=PATH``,
or ``--peers-python PATH`` for all of them); one that is not installed is named and left out, one that fails makes the
exit status 1. Weights: ``base``, or with ``--model`` another, for those that read it as it is; greedy, English, no
fallback. Ours reads the file within its time, the peers too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import soundfile
from benchmarks.report import draw, summarise, table, tiers
from benchmarks.runs import machine, run_child
from benchmarks.systems import FAMILIES, SYSTEMS, Asked, usable_threads
from benchmarks.weights import make_weights
from tqdm import tqdm

from whisper_max.files.cache import cache_dir


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--model", default="base", help="another than base is for ours and openai-whisper only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--reference", type=Path, help="the transcript, for the word error rate")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of all peers but those named")
    parser.add_argument("--python", action="append", default=[], metavar="FAMILY=PATH", help=", ".join(FAMILIES))
    parser.add_argument(
        "--json", type=Path, help="where to write the summaries; the chart goes beside it, or from results to figures"
    )
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds: expected at least 1, found {args.rounds}")
    return args


def interpreters(args: argparse.Namespace) -> dict[str, str]:
    """The interpreter of each family."""
    pythons = {family: sys.executable if family == "ours" else args.peers_python for family in FAMILIES}
    for each in args.python:
        family, equals, path = each.partition("=")
        if family not in pythons or not equals:
            raise SystemExit(f"--python: expected one of {', '.join(FAMILIES)} and =PATH, found {each!r}")
        pythons[family] = path
    return pythons


def refuse_formats(args: argparse.Namespace) -> None:
    """Only of base the weights are written in the peers' formats."""
    names = [name for name in args.systems if SYSTEMS[name].weights is not None]
    if names:
        raise SystemExit(f"--model {args.model}: only base can be run by {', '.join(names)}; leave them out")


def main() -> int:
    """Make the peers' weights, run the systems in turn, print the table, write the JSON and the chart."""
    args = parse()
    pythons = interpreters(args)
    folder = cache_dir() / "benchmark"
    if args.model != "base":
        refuse_formats(args)
    kinds = {kind for name in args.systems if (kind := SYSTEMS[name].weights) is not None}
    conversions, unmade = make_weights(kinds, folder, pythons)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.systems}
    out = {name: unmade[kind] for name in args.systems if (kind := SYSTEMS[name].weights) in unmade}
    failed = False
    for name in tqdm([name for _ in range(args.rounds) for name in args.systems], unit="run"):
        if name in out:
            continue
        system = SYSTEMS[name]
        asked = Asked(args.model, folder / (system.weights or ""), args.threads)
        run = run_child(name, args.audio, pythons[system.family], asked)
        if "text" in run:
            runs[name].append(run)
        else:
            out[name] = run.get("missing") or f"failed: {run['failed']}"
            failed |= "failed" in run
    reference = args.reference.read_text(encoding="utf-8") if args.reference else None
    result = {
        "kind": "systems",
        "audio": args.audio.name,
        "model": args.model,
        "rounds": args.rounds,
        "seconds": soundfile.info(args.audio).duration,
        "machine": {**machine(), "threads": args.threads},
        "conversions": {kind: seconds for kind, seconds in conversions.items() if kind in kinds},
        "missing": out,
        "summaries": {
            name: {**summarise(done, reference), "note": SYSTEMS[name].note} for name, done in runs.items() if done
        },
    }
    print(table(result))
    print(f"\n{tiers(result)}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")
        draw(result, args.json.with_suffix(""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
