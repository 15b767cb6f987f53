"""``bench`` on the command line: this model on this machine, stage by stage, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from whisper_max.commands.console import BAR_DELAY, EXIT_OK, Table, is_terminal, print_table
from whisper_max.commands.flags import Subcommands, add_plot_option, output_file
from whisper_max.commands.loading import add_model_options, load_from
from whisper_max.files.remote import source_name
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.measure.bench import Row, Whole
    from whisper_max.measure.drawing.svg import Drawing
    from whisper_max.measure.peaks import Peaks
    from whisper_max.measure.timed import Call

MS = 1e3
NOISE = "white noise, a fixed number of steps; nothing is transcribed"
_FLOORS = (
    "floor: the stage's arithmetic at the measured rate of float32 matrix products, or the weights and caches that it"
    " reads at the measured rate of reading memory, whichever takes longer; a stage below it beats NumPy"
)
_INT8 = "int8 layers may be quicker than this floor: its arithmetic is float32's"


def add(commands: Subcommands) -> None:
    """Register the subcommand with the parser's ``commands``."""
    parser = commands.add_parser(
        "bench",
        help="time a model on this machine's CPU, stage by stage",
        description="Time every stage beside the least that it could take here, and whole runs. Without --audio the"
        " recording is noise and each window gets a fixed number of steps.",
        epilog="example: python -m whisper_max bench --compute_type int8 --batch 8 --json speed.json",
    )
    add_model_options(parser, but=("device",))
    parser.add_argument("--batch", type=int, metavar="N", default=1, help="windows decoded at once, beside one alone")
    parser.add_argument("--runs", type=int, metavar="N", default=5, help="of everything, after one that warms up")
    parser.add_argument("--steps", type=int, metavar="N", default=64, help="tokens that a window of noise gets")
    parser.add_argument("--audio", type=str, metavar="FILE", help="a recording to transcribe")
    parser.add_argument("--language", help="language spoken in the recording; detected when not given")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write every figure to this file")
    add_plot_option(parser, "each stage beside its floor, and where the time of a whole run goes")
    parser.set_defaults(run=run, parser=parser, device="cpu")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the JSON."""
    if args.language is not None and args.audio is None:
        args.parser.error("--language needs --audio")
    from tqdm import tqdm

    from whisper_max.audio.io import open_audio
    from whisper_max.hardware.threads import start_workers
    from whisper_max.measure.bench import Bench, BenchOptions, write_noise
    from whisper_max.measure.costs import Costs
    from whisper_max.measure.drawing.svg import write_plot
    from whisper_max.measure.peaks import measure_peaks
    from whisper_max.output import check_writable, write_atomically

    options = BenchOptions(args.runs, args.batch, args.steps, args.language)
    if args.audio is not None:
        with open_audio(args.audio):  # raises for what is no audio before anything takes long
            pass
    for path in (args.json, args.plot):
        if path is not None:
            check_writable(path)
    model = load_from(args)
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
            path = os.path.join(folder, "noise.wav")
            write_noise(path, max(2, args.batch))
        rows = bench.stages(path)
        whole = bench.whole(path, is_speech=args.audio is not None)
    report = bench_report(args, model, peaks, rows, whole)
    _print_report(report)
    if args.json is not None:
        write_atomically(args.json, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if args.plot is not None:
        write_plot(args.plot, f"{args.model} on {model.target}", draw_report(report))
    return EXIT_OK


def number_sizes(model: Model) -> tuple[int, int]:
    """Bytes of a number in a matrix, and in cross keys and values, as the engine keeps them at most as narrow.

    What OpenAI published is kept in float16, which is exact; so may others be, whose floor is that of float16 too.
    """
    is_int8 = model.target is not None and model.target.endswith("weights int8")
    return (1, 1) if is_int8 else (2, 4)


# ---------------------------------------------------------------- the report, of plain values


def bench_report(args: argparse.Namespace, model: Model, peaks: Peaks, rows: list[Row], whole: Whole) -> dict[str, Any]:
    """All figures by name, JSON-serialisable; seconds, bytes and operations a second."""
    from whisper_max.measure.peaks import processor

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
        "audio": {"name": NOISE if args.audio is None else source_name(args.audio), "seconds": whole.audio_seconds},
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
    whole = report["whole"]
    lines = [
        *_head_lines(report),
        "",
        f"{'stage alone':<34}{'ms':>10}{'least':>10}{'floor':>10}{'x floor':>9}  {'rate'}",
        *(_stage_line(row) for row in report["stages"]),
        "",
        _whole_line(whole, report["audio"]["seconds"]),
        f"{'of which':<34}{'calls':>10}{'s':>10}{'floor':>10}{'%':>9}",
        *("{:<34}{:>10}{:>10}{:>10}{:>9}".format(*cells) for cells in _whole_cells(whole)),
    ]
    return "\n".join(lines)


def _print_report(report: dict[str, Any]) -> None:
    """The same, on a terminal with tables that are drawn."""
    if not is_terminal():
        print(table(report))
        return
    print("\n".join(_head_lines(report)))
    stages = [[stage_name(row), *_stage_cells(row), stage_rate(row)] for row in report["stages"]]
    print_table(Table(("stage alone", "ms>", "least>", "floor>", "x floor>", "rate"), stages), ())
    print(_whole_line(report["whole"], report["audio"]["seconds"]))
    print_table(Table(("of which", "calls>", "s>", "floor>", "%>"), list(_whole_cells(report["whole"]))), ())


def draw_report(report: dict[str, Any]) -> list[Drawing]:
    """Each stage beside the least that it could take here, and where a whole run's time goes."""
    from whisper_max.measure.drawing.charts import Bar, bars

    def floor(row: dict[str, Any], scale: float) -> float | None:
        return scale * row["floor"] if row.get("floor") is not None else None

    whole = report["whole"]
    alone = [
        Bar(stage_name(row), [MS * row["median"]], floor(row, MS), f"{MS * row['median']:.2f}")
        for row in report["stages"]
    ]
    parts = [
        Bar(name, [stage["seconds"]], floor(stage, 1), f"{stage['seconds']:.2f}")
        for name, stage in whole["stages"].items()
    ]
    rest = Bar("everything else", [whole["everything else"]], None, f"{whole['everything else']:.2f}")
    return [
        bars("Stages, each alone", "ms", ["median"], alone, "floor"),
        bars(_whole_line(whole, report["audio"]["seconds"]), "s", ["of the median run"], [*parts, rest], "floor"),
    ]


def _head_lines(report: dict[str, Any]) -> list[str]:
    machine, peaks, audio = report["machine"], report["peaks"], report["audio"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    is_int8 = str(report["target"]).endswith("weights int8")
    return [
        f"{machine['processor']}, {machine['threads']} threads; whisper_max {report['whisper_max']}, {versions}",
        f"{report['options']['model']} on {report['target']}; {audio['name']}, {audio['seconds']:.1f} s",
        f"measured here with NumPy: float32 matrix product {peaks['flops'] / 1e9:.0f} GFLOP/s,"
        f" reading memory {peaks['bandwidth'] / 1e9:.1f} GB/s",
        _FLOORS + (f"; {_INT8}" if is_int8 else ""),
    ]


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


def _stage_cells(row: dict[str, Any]) -> list[str]:
    floor, times = ("-", "-")
    if "floor" in row:
        floor, times = f"{MS * row['floor']:.2f}", f"{row['median'] / row['floor']:.1f}"
    return [f"{MS * row['median']:.2f}", f"{MS * row['min']:.2f}", floor, times]


def _stage_line(row: dict[str, Any]) -> str:
    figures = "{:>10}{:>10}{:>10}{:>9}".format(*_stage_cells(row))
    return f"{stage_name(row):<34}{figures}  {stage_rate(row)}".rstrip()


def _whole_line(whole: dict[str, Any], audio_seconds: float) -> str:
    speed = f"{audio_seconds / whole['median']:.1f} x real time"
    spread = f"median of {whole['runs']}, {whole['min']:.2f}-{whole['max']:.2f}"
    return (
        f"whole run: {whole['median']:.2f} s ({spread}), {speed}; {whole['windows']} windows, {whole['steps']} tokens"
    )


def _whole_cells(whole: dict[str, Any]) -> Iterator[list[str]]:
    """Each stage of a whole run: its name, calls, seconds, floor and share."""
    for name, stage in whole["stages"].items():
        floor = "-" if stage["floor"] is None else f"{stage['floor']:.2f}"
        share = 100 * stage["seconds"] / whole["median"]
        yield [name, str(stage["calls"]), f"{stage['seconds']:.2f}", floor, f"{share:.1f}"]
    rest = whole["everything else"]
    yield ["everything else", "", f"{rest:.2f}", "-", f"{100 * rest / whole['median']:.1f}"]
