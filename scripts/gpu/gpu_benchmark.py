"""Time a GPU: ``python scripts/gpu/gpu_benchmark.py``; the peers too, where they are installed, in the same run.

Throughput by batch, milliseconds a token of one stream, a clip from audio to text, and the start from a compiled
artifact; each beside its floor. Weights are random, but those of the clip: no step's time depends on values. Writes raw
JSON and a picture of how much of the floor each stage reaches. ``--device cpu --models tiny-shape`` tries the script.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from gpu_gate import describe, open_device
from gpu_tools import floors, peers
from gpu_tools.names import size_names
from gpu_tools.sizes import dims_of
from gpu_tools.timing import Subject, cold_start, time_clip, time_decoding, time_encoding
from max.dtype import DType

from whisper_max.files.cache import cache_dir
from whisper_max.hardware.gpu_record import DRIVER, read_record
from whisper_max.model.digest import FAST

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS: dict[str, Callable[..., dict[str, Any]]] = {
    "openai-whisper": peers.time_openai_whisper,
    "transformers": peers.time_transformers,
}


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    device, code = open_device(args.device)
    args.dtype = args.dtype or ("float32" if device.is_host else "bfloat16")
    architecture = code.partition(":")[2]
    record = None if device.is_host else read_record(architecture)
    form = args.form or (FAST if record is not None and args.dtype in record.fast else "plain")
    if not device.is_host and (record is None or args.dtype not in getattr(record, form)):
        print(f"warning: {form} {args.dtype} has not passed the check on this GPU: run scripts/gpu/gpu_gate.py first")
    card = floors.card_of(describe(device), args.flops, args.bandwidth)
    run: dict[str, Any] = {
        "device": describe(device), "driver": DRIVER.read_text().splitlines()[0] if DRIVER.exists() else None,
        "max": version("max-core"), "python": platform.python_version(), "command": sys.argv, "dtype": args.dtype,
        "form": form, "tokens": args.tokens, "ceilings": vars(card), "sizes": {}, "notes": [],
    }  # fmt: skip
    print(f"{run['device']}, {run['driver'] or 'no NVIDIA driver'}, MAX {run['max']}, {args.dtype}, {form} forms")
    deadline = time.monotonic() + args.budget
    for size in args.models:
        if time.monotonic() > deadline:
            note(run, f"not timed, out of time: {size}")
            continue
        run["sizes"][size] = time_size(size, args, device, code + (f":{FAST}" if form == FAST else ""), run)
        write(run, args.output)
    time_real(run, args, deadline)
    write(run, args.output)
    print_table(run, card)
    draw(run, card, args.figure)
    print(f"figures in {args.output}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--device", default="gpu", choices=["gpu", "cpu"])
    parser.add_argument("--models", type=size_names, default="base,large-v3-turbo,large-v3", help="with commas between")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], help="bfloat16; float32 on a CPU")
    parser.add_argument("--form", choices=["fast", "plain"], help="by default what the check found right")
    parser.add_argument("--tokens", type=int, default=64, help="tokens a window")
    parser.add_argument("--batches", default="1,8,32,64,128,320,512")
    parser.add_argument("--groups", default="1,8,16,32,64", help="windows encoded together")
    parser.add_argument("--clip", type=Path, default=REPOSITORY / "samples" / "jfk.flac")
    parser.add_argument("--real", default="base", help="real model of the clip and the cold start; empty for none")
    parser.add_argument("--artifacts", type=Path, default=cache_dir() / "gpu")
    parser.add_argument("--flops", type=float, help="a second, dense; in place of the known card's")
    parser.add_argument("--bandwidth", type=float, help="bytes a second, likewise")
    parser.add_argument("--budget", type=float, default=480, help="seconds after which nothing new is started")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "measured" / "gpu.json")
    parser.add_argument("--figure", type=Path, default=REPOSITORY / "docs" / "measured" / "gpu_roofline.png")
    return parser


def time_size(size: str, args: argparse.Namespace, device: Any, code: str, run: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))

    dims = dims_of(size)
    subject = Subject(dims, DType[args.dtype], device, code, args.artifacts)
    found: dict[str, Any] = {"weights": "random", "encoding": list(time_encoding(subject, numbers(args.groups)))}
    group = max((row["windows"] for row in found["encoding"] if "error" not in row), default=1)
    tokens = min(args.tokens, dims.n_text_ctx - 8)
    found["decoding"] = list(time_decoding(subject, numbers(args.batches), tokens, group, lambda s: note(run, s)))
    del subject
    best = max((row["windows"] for row in found["decoding"] if "error" not in row), default=1)
    for peer, measure in PEERS.items():
        if (lacking := peers.missing(peer)) is not None:
            note(run, f"{peer}: {lacking}")
            continue
        try:
            found[peer] = measure(dims, "cpu" if args.device == "cpu" else "cuda", min(best, 32), tokens)
        except (RuntimeError, ValueError, TypeError, AttributeError, ImportError) as error:
            note(run, f"{peer}, {size}: failed: {' '.join(str(error).split())[:200]}")
    print(f"{size}: timed", flush=True)
    return found


def time_real(run: dict[str, Any], args: argparse.Namespace, deadline: float) -> None:
    """A clip from audio to text, and the cold start, by a real model."""
    if not args.real:
        note(run, "no real model: neither the clip nor the cold start was timed")
        return
    if time.monotonic() > deadline:
        note(run, "not timed, out of time: the clip and the cold start")
        return
    run["clip"] = {"model": args.real, "ours": time_clip(args.real, args.device, args.clip)}
    run["cold_start_s"] = [cold_start(args.real, args.device) for _ in range(3)]
    if (lacking := peers.missing("openai-whisper")) is not None:
        note(run, f"the clip by openai-whisper: {lacking}")
        return
    try:
        run["clip"]["openai-whisper"] = peers.time_clip(args.real, "cpu" if args.device == "cpu" else "cuda", args.clip)
    except (RuntimeError, OSError) as error:  # its weights can't be had here
        note(run, f"the clip by openai-whisper: {' '.join(str(error).split())[:200]}")


def note(run: dict[str, Any], line: str) -> None:
    if line not in run["notes"]:
        run["notes"].append(line)
        print(line)


def write(run: dict[str, Any], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(run, indent=1, default=str) + "\n", encoding="utf-8")


def print_table(run: dict[str, Any], card: floors.Card) -> None:
    """What was measured, beside its floor; what was not measured is not in it."""
    print(f"\n| what | measured | floor ({card.flops / 1e12:.3g} TFLOP/s, {card.bandwidth / 1e12:.3g} TB/s) |")
    print("| --- | --- | --- |")
    for size, found in run["sizes"].items():
        dims = dims_of(size)
        for row in found["decoding"]:
            if "error" in row:
                print(f"| {size}, batch {row['windows']} | {row['error']} | |")
                continue
            n, tokens = row["windows"], row["tokens"]
            floor = floors.windows_per_second(dims, n, tokens, card)
            step = floors.step(dims, n, tokens // 2).floor(card)
            print(f"| {size}, batch {n}: windows/s | {row['windows_per_s']:.3g} | {floor:.3g} |")
            print(f"| {size}, batch {n}: ms a step | {1000 * median(row['step_s']):.3g} | {1000 * step:.3g} |")
        for peer in PEERS:
            times = found.get(peer, {})
            if "windows_per_s" in times:
                print(f"| {size}, {peer}, batch {times['windows']}: windows/s | {times['windows_per_s']:.3g} | |")
                print(f"| {size}, {peer}: ms a token, one stream | {times['ms_per_token']:.3g} | |")
    for who, taken in run.get("clip", {}).items():
        if who != "model":
            print(f"| clip, {run['clip']['model']}, {who}: s | {median(taken['seconds']):.3g} | |")
    if "cold_start_s" in run:
        print(f"| cold start: s | {median(run['cold_start_s']):.3g} | |")


def draw(run: dict[str, Any], card: floors.Card, figure: Path) -> None:
    """Floor over measured time by stage and batch: 1 is the card's own limit."""
    try:
        import matplotlib
    except ImportError:
        note(run, "no picture: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    chart, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for size, found in run["sizes"].items():
        dims = dims_of(size)
        lines: dict[str, list[tuple[int, float]]] = {"encode": [], "cross-KV": [], "step": []}
        for row in found["encoding"]:
            if "error" not in row:
                n = row["windows"]
                lines["encode"].append((n, floors.encode(dims, n).floor(card) / median(row["encode_s"])))
                lines["cross-KV"].append((n, floors.cross_kv(dims, n).floor(card) / median(row["cross_kv_s"])))
        for row in found["decoding"]:
            if "error" not in row:
                n = row["windows"]
                lines["step"].append((n, floors.step(dims, n, row["tokens"] // 2).floor(card) / median(row["step_s"])))
        for stage, points in lines.items():
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=f"{size}, {stage}")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set(xscale="log", xlabel="windows together", ylabel="floor / measured", ylim=(0, 1.05))
    axes.set_title(f"Share of the floor reached on {run['device']}, {run['dtype']}, {run['form']} forms")
    axes.legend(fontsize=7)
    figure.parent.mkdir(parents=True, exist_ok=True)
    chart.savefig(figure, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
