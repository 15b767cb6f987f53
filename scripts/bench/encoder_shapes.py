"""The encoder of larger models beside CTranslate2's and OpenVINO's, with random weights, in turn.

    python scripts/bench/encoder_shapes.py --models small large-v3-turbo --peers-python peers/bin/python \
        --json docs/measured/encoder_shapes.json

The peers' interpreter needs openai-whisper, ctranslate2, openvino and nncf. What is made of the weights is kept in the
cache's folder ``benchmark``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.encoders import CHECKPOINT, CTRANSLATE2, SYSTEMS, table
from benchmarks.runs import PEER_PATH, machine
from benchmarks.systems import usable_threads
from tqdm import tqdm

from whisper_max.checkpoint.published import MODELS
from whisper_max.files.cache import cache_dir


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["small", "large-v3-turbo"], metavar="NAME")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="windows of a round")
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def made(model: str, peers_python: str) -> Path:
    """The folder of a size's weights in all formats."""
    folder = cache_dir() / "benchmark" / f"encoder-{model}"
    if not (folder / CTRANSLATE2).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        in_child(peers_python, "make", json.dumps(asdict(MODELS[model].dims)), str(folder))
        quantize = ["-m", "whisper_max", "quantize", "--format", "ctranslate2", "--offline"]
        subprocess.run([sys.executable, *quantize, folder / CHECKPOINT, folder / CTRANSLATE2], check=True)
    return folder


def in_child(python: str, *arguments: str, threads: int | None = None) -> str:
    """What the module prints in another interpreter."""
    env = {**os.environ, "PYTHONPATH": PEER_PATH, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    command = [python, "-m", "benchmarks.encoders", *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Make the weights, run the systems in turn, print the table and write the JSON."""
    args = parse()
    models: dict[str, dict[str, list[float]]] = {}
    for model in args.models:
        folder = made(model, args.peers_python)
        found = models[model] = {name: [] for name in args.systems}
        for name in tqdm([name for _ in range(args.rounds) for name in args.systems], desc=model, unit="run"):
            python = sys.executable if name.startswith("ours") else args.peers_python
            counts = [args.threads, MODELS[model].dims.n_mels, args.runs]
            printed = in_child(python, "time", name, str(folder), *map(str, counts), threads=args.threads)
            found[name] += json.loads(printed)
    result = {"kind": "encoders", "machine": {**machine(), "threads": args.threads}, "models": models}
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
