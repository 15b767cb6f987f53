"""``bench`` on the command line: this model on this machine, stage by stage, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.cli_options import MODEL_OPTIONS, HelpFormatter
from whisper_max.cli_transcribe import BAR_DELAY, EXIT_OK, print_progress
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.bench import Row, Whole
    from whisper_max.peaks import Peaks
    from whisper_max.timed import Call

MS = 1e3
NOISE = "white noise, a fixed number of steps; nothing is transcribed"
_FLOORS = (
    "floor: the stage's arithmetic at the measured rate of float32 matrix products, or the weights and caches that it"
    " reads at the measured rate of reading memory, whichever takes longer; a stage below it beats NumPy"
)
_INT8 = "int8 layers may be quicker than this floor: its arithmetic is float32's"


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand with the parser's ``commands``."""
    parser = commands.add_parser(
        "bench",
        help="time a model on this machine's CPU, stage by stage",
        description="Time every stage beside the least that it could take here, and whole runs. Without --audio the"
        " recording is noise and each window gets a fixed number of steps.",
        epilog="example: python -m whisper_max bench --compute_type int8 --batch 8 --json speed.json",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    for option in MODEL_OPTIONS:
        if option.name not in ("device", "compute_type"):
            option.add_to(parser)
    parser.add_argument("--compute_type", default="auto", metavar="TYPE", help="auto, float32 or int8")
    parser.add_argument("--threads", type=int, metavar="N", default=0, help="CPU threads; 0: every usable core")
    parser.add_argument("--batch", type=int, metavar="N", default=1, help="windows decoded at once, beside one alone")
    parser.add_argument("--runs", type=int, metavar="N", default=5, help="of everything, after one that warms up")
    parser.add_argument("--steps", type=int, metavar="N", default=64, help="tokens that a window of noise gets")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="a recording to transcribe")
    parser.add_argument("--language", help="language spoken in the recording; detected when not given")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every figure to this file")
    parser.set_defaults(run=run_bench, parser=parser)


def run_bench(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    if args.language is not None and args.audio is None:
        args.parser.error("--language needs --audio")
    from tqdm import tqdm

    import whisper_max
    from whisper_max.audio.io import open_audio
    from whisper_max.bench import Bench, BenchOptions, write_noise
    from whisper_max.costs import Costs
    from whisper_max.engine.threads import start_workers
    from whisper_max.output import check_writable, write_atomically
    from whisper_max.peaks import measure_peaks

    options = BenchOptions(args.runs, args.batch, args.steps, args.language)
    if args.audio is not None:
        with open_audio(args.audio):  # raises for what is no audio before anything takes long
            pass
    if args.json is not None:
        check_writable(args.json)
    model = whisper_max.load_model(
        args.model,
        device="cpu",
        compute_type=args.compute_type,
        threads=args.threads or None,
        offline=args.offline,
        weights_dir=args.model_dir,
        progress=print_progress,
    )
    peaks = measure_peaks(start_workers())
    costs = Costs(model.dims, *number_sizes(model))
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(unit="run", delay=BAR_DELAY, leave=False, disable=not sys.stderr.isatty()) as bar,
    ):
        bench = Bench(model.inference, model.vocabulary, costs, options, bar.update)
        bar.reset(bench.n_ticks)
        path = args.audio
        if path is None:
            path = Path(folder) / "noise.wav"
            write_noise(path, max(2, args.batch))
        rows = bench.stages(path)
        whole = bench.whole(path, is_speech=args.audio is not None)
    report = bench_report(args, model, peaks, rows, whole)
    print(table(report))
    if args.json is not None:
        write_atomically(args.json, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    return EXIT_OK


def number_sizes(model: Model) -> tuple[int, int]:
    """Bytes of a number in a matrix, and in a cache, as the engine keeps them at most as narrow.

    What OpenAI published is kept in float16, which is exact; so may others be, whose floor is that of float16 too.
    """
    is_int8 = model.target is not None and model.target.endswith("weights int8")
    return (1, 2) if is_int8 else (2, 4)


# ---------------------------------------------------------------- the report, of plain values


def bench_report(args: argparse.Namespace, model: Model, peaks: Peaks, rows: list[Row], whole: Whole) -> dict[str, Any]:
    """All figures by name, JSON-serialisable; seconds, bytes and operations a second."""
    from whisper_max.peaks import processor

    names = ("model", "compute_type", "threads", "batch", "runs", "steps", "language")
    return {
        "kind": "bench",
        "whisper_max": VERSION,
        "machine": {
            "platform": platform.platform(),
            "processor": processor(),
            "threads": peaks.threads,
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in ("max", "numpy")},
        "options": {name: getattr(args, name) for name in names},
        "target": model.target,
        "audio": {"name": NOISE if args.audio is None else args.audio.name, "seconds": whole.audio_seconds},
        "peaks": asdict(peaks),
        "stages": [_row_values(row, peaks) for row in rows],
        "whole": _whole_values(whole, peaks),
    }


def _row_values(row: Row, peaks: Peaks) -> dict[str, Any]:
    work = {} if row.work is None else {**asdict(row.work), "floor": row.work.floor(peaks)}
    times = {"median": row.median, "min": min(row.seconds), "max": max(row.seconds)}
    return {"stage": row.stage, "items": row.items, "calls": len(row.seconds), **times, **work}


def _whole_values(whole: Whole, peaks: Peaks) -> dict[str, Any]:
    stages = {stage: _sums(calls, peaks) for stage, calls in whole.calls.items()}
    rest = whole.median - sum(stage["seconds"] for stage in stages.values())
    times = {"median": whole.median, "min": min(whole.seconds), "max": max(whole.seconds)}
    counts = {"windows": whole.n_windows, "steps": whole.n_steps}
    return {**times, "runs": len(whole.seconds), **counts, "stages": stages, "everything else": rest}


def _sums(calls: Sequence[Call], peaks: Peaks) -> dict[str, Any]:
    floors = [call.work.floor(peaks) for call in calls if call.work is not None]
    sums = {"items": sum(call.items for call in calls), "seconds": sum(call.seconds for call in calls)}
    return {"calls": len(calls), **sums, "floor": sum(floors) if floors else None}


# ---------------------------------------------------------------- the tables, of the report


def table(report: dict[str, Any]) -> str:
    """What a person reads: what was measured on what, each stage, and where a whole run's time goes."""
    machine, peaks, audio = report["machine"], report["peaks"], report["audio"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    is_int8 = str(report["target"]).endswith("weights int8")
    lines = [
        f"{machine['processor']}, {machine['threads']} threads; whisper_max {report['whisper_max']}, {versions}",
        f"{report['options']['model']} on {report['target']}; {audio['name']}, {audio['seconds']:.1f} s",
        f"measured here with NumPy: float32 matrix product {peaks['flops'] / 1e9:.0f} GFLOP/s,"
        f" reading memory {peaks['bandwidth'] / 1e9:.1f} GB/s",
        _FLOORS + (f"; {_INT8}" if is_int8 else ""),
        "",
        f"{'stage alone':<34}{'ms':>10}{'least':>10}{'floor':>10}{'x floor':>9}  {'rate'}",
        *(_stage_line(row) for row in report["stages"]),
        "",
        *_whole_lines(report["whole"], audio["seconds"]),
    ]
    return "\n".join(lines)


def stage_name(row: dict[str, Any]) -> str:
    """A stage and its size: ``step, 8 windows``."""
    units = {"encoder": "window", "cross keys and values": "window", "prefill": "token", "step": "window"}
    unit = units.get(row["stage"])
    return row["stage"] if unit is None else f"{row['stage']}, {row['items']} {unit}{'s' * (row['items'] > 1)}"


def stage_rate(row: dict[str, Any]) -> str:
    """What a stage gets done: tokens a second of steps, operations a second of the others."""
    if row["stage"] == "step":
        each = row["median"] / row["items"]
        return f"{1 / each:.0f} tokens/s, {MS * each:.2f} ms/token, {row['n_bytes'] / row['median'] / 1e9:.1f} GB/s"
    return f"{row['flops'] / row['median'] / 1e9:.0f} GFLOP/s" if "flops" in row else ""


def _stage_line(row: dict[str, Any]) -> str:
    floor, times = ("-", "-")
    if "floor" in row:
        floor, times = f"{MS * row['floor']:.2f}", f"{row['median'] / row['floor']:.1f}"
    figures = f"{MS * row['median']:>10.2f}{MS * row['min']:>10.2f}{floor:>10}{times:>9}"
    return f"{stage_name(row):<34}{figures}  {stage_rate(row)}".rstrip()


def _whole_lines(whole: dict[str, Any], audio_seconds: float) -> list[str]:
    speed = f"{audio_seconds / whole['median']:.1f} x real time"
    spread = f"median of {whole['runs']}, {whole['min']:.2f}-{whole['max']:.2f}"
    lines = [
        f"whole run: {whole['median']:.2f} s ({spread}), {speed}; {whole['windows']} windows, {whole['steps']} tokens",
        f"{'of which':<34}{'calls':>10}{'s':>10}{'floor':>10}{'%':>9}",
    ]
    for name, stage in whole["stages"].items():
        floor = "-" if stage["floor"] is None else f"{stage['floor']:.2f}"
        share = 100 * stage["seconds"] / whole["median"]
        lines.append(f"{name:<34}{stage['calls']:>10}{stage['seconds']:>10.2f}{floor:>10}{share:>9.1f}")
    rest = whole["everything else"]
    return [*lines, f"{'everything else':<34}{'':>10}{rest:>10.2f}{'-':>10}{100 * rest / whole['median']:>9.1f}"]
