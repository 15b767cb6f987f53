"""``demo`` on the command line: one recording through the tiers, from openai-whisper to the fastest here."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.commands.console import (
    EXIT_FAILED,
    EXIT_OK,
    Cell,
    Table,
    print_progress,
    print_table,
    say,
    shown,
)
from whisper_max.commands.flags import Subcommands, add_plot_option, language, output_file
from whisper_max.commands.loading import add_model_options
from whisper_max.errors import OptionError
from whisper_max.files.remote import source_name
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.measure.demo.differences import Part
    from whisper_max.measure.demo.runs import Job, Run
    from whisper_max.measure.demo.tiers import Tier

    Aligned = Mapping[str, Sequence[Part]]

_OF_TIERS = ("device", "compute_type", "fp16", "gpu_memory_utilization")
_COLUMNS = ("tier", "stage", "load s>", "run s>", "x real>", "first s>", "memory>", "differing>")
_NAMES = "reference-cpu, reference-gpu, float32, int8, float32-batch, int8-batch, gpu, gpu-batch"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "demo",
        help="one recording through openai-whisper and our tiers: speed, memory and words side by side",
        description="Transcribe a recording by each tier, each in a process of its own: openai-whisper where an"
        " environment has it, float32, int8, batches, GPU. Those that aren't there say why and are skipped.",
        epilog="example: python -m whisper_max demo talk.mp3 --reference ~/whisper-env --json tiers.json",
    )
    parser.add_argument("audio", metavar="AUDIO", help="a recording")
    parser.add_argument("--tiers", metavar="TIER[,...]", help=f"only these of {_NAMES}")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="ENVIRONMENT",
        help="folder or Python of an environment with openai-whisper; may be repeated: the first that has it is taken",
    )
    parser.add_argument("--batch_size", type=int, default=8, metavar="N", help="pieces that a batch decodes at once")
    parser.add_argument("--language", type=language, help="language spoken; each tier detects it when not given")
    parser.add_argument(
        "--at_once", action="store_true", help="run all tiers at the same time; they share this machine"
    )
    parser.add_argument(
        "--json", type=output_file, metavar="OUT", help="write every figure and transcript to this file"
    )
    add_plot_option(parser, "how fast each tier is")
    add_model_options(parser, but=_OF_TIERS)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the tiers, show them, print table, chart and differences; fail where one failed, or none could run."""
    from whisper_max.audio.io import open_audio
    from whisper_max.measure.demo.runs import DONE, FAILED, Run, alignments, checkpoint_of, write_samples
    from whisper_max.measure.demo.tiers import interpreter
    from whisper_max.output import check_writable

    chosen = _chosen(args)
    interpreters = [interpreter(each) for each in args.reference] or [Path(sys.executable)]
    for path in (args.json, args.plot):
        if path is not None:
            check_writable(path)
    with tempfile.TemporaryDirectory(prefix="whisper_max_") as name, ExitStack() as stack:
        folder = Path(name)
        waveform = stack.enter_context(open_audio(args.audio))
        write_samples(waveform, folder / "samples")
        model = model_arguments(args)
        checkpoint = checkpoint_of(model)
        runs = [Run(tier, waveform.duration) for tier in chosen]
        job = _job(args, model, checkpoint, folder, interpreters, chosen)
        print_progress(f"{source_name(args.audio)}, {waveform.duration:.1f} s; {args.model}; {_machine()}")
        _go(runs, job, at_once=args.at_once)
        duration = waveform.duration
    aligned = alignments(runs)
    _print(runs, aligned)
    report = _report(args, runs, aligned, duration)
    _write(args, runs, report)
    stages = [each.stage for each in runs]
    return EXIT_FAILED if FAILED in stages or DONE not in stages else EXIT_OK


def _chosen(args: argparse.Namespace) -> list[Tier]:
    """The tiers that were asked for, in their own order.

    Raises:
        OptionError: an unknown name, or an impossible size of batches.
    """
    from whisper_max.measure.demo.tiers import tiers
    from whisper_max.transcribe.options import check_batch_size

    check_batch_size(args.batch_size)
    known = tiers(args.batch_size)
    if args.tiers is None:
        return list(known.values())
    names = [name.strip() for name in args.tiers.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = unknown[0] if unknown else args.tiers
        raise OptionError("unknown tier", where="tiers", expected=", ".join(known), found=repr(found))
    return [tier for name, tier in known.items() if name in names]


def model_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``load_model``, but for those that each tier has its own."""
    return {
        "model": args.model,
        "threads": args.threads or None,
        "lora": list(args.lora),
        "offline": args.offline,
        "weights_dir": args.model_dir,
    }


def _job(
    args: argparse.Namespace,
    model: dict[str, Any],
    checkpoint: Any,  # noqa: ANN401 - a Checkpoint, which the parser must not import
    folder: Path,
    interpreters: Sequence[Path],
    chosen: Sequence[Tier],
) -> Job:
    """What the tiers are given; the weights are written out where openai-whisper is to run."""
    from whisper_max.measure.demo.runs import Job, why_no_reference, write_weights
    from whisper_max.measure.demo.tiers import with_reference

    options = {"language": args.language}
    if not any(tier.reference for tier in chosen):
        return Job(folder / "samples", model, options)
    reason, python = why_no_reference(checkpoint), with_reference(interpreters)
    weights = folder / "weights"
    weights.mkdir()
    if python is not None and reason is None:
        print_progress("writing the weights for openai-whisper")
        write_weights(checkpoint, weights)
    return Job(folder / "samples", model, options, python, weights, asdict(checkpoint.dims), reason)


def _go(runs: Sequence[Run], job: Job, *, at_once: bool) -> None:
    """Run all tiers, one after the other or at once; none of their processes outlives this."""
    from whisper_max.measure.demo.runs import go

    with ThreadPoolExecutor(len(runs) if at_once else 1) as pool, _shown(runs):
        try:
            for _ in pool.map(lambda each: go(each, job), runs):
                pass
        except BaseException:  # Ctrl-C: what has not begun never does, what runs is ended
            pool.shutdown(wait=False, cancel_futures=True)
            for each in runs:
                if each.process is not None:
                    each.process.kill()
            raise


@contextmanager
def _shown(runs: Sequence[Run]) -> Iterator[None]:
    """Rows that move on a terminal; elsewhere a line for each tier that ends."""
    if sys.stderr.isatty():
        from whisper_max.commands.demo_screen import live

        with live(runs):
            yield
        return
    stop, told = threading.Event(), set[str]()

    def tell() -> None:
        for each in runs:
            if each.ended and each.tier.name not in told:
                told.add(each.tier.name)
                say(f"{each.tier.name}: {each.note or f'{each.speed:.1f} x real time'}")

    def watch() -> None:
        while not stop.wait(0.5):
            tell()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        tell()


def _print(runs: Sequence[Run], aligned: Aligned) -> None:
    from whisper_max.commands.demo_screen import chart, print_differences

    rows = [_cells(each, aligned) for each in runs]
    plain = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows]
    heads = [column.removesuffix(">") for column in _COLUMNS]
    print_table(Table(_COLUMNS, rows), map(_plain, [heads, *plain]))
    for each in runs:
        if each.note:
            print(f"{each.tier.name}: {each.stage}: {shown(each.note)}")
    print()
    for line in chart(runs):
        print(line)
    print()
    print_differences(runs, aligned)


def _plain(cells: Sequence[str]) -> str:
    name, stage, *figures = cells
    return f"{name:<15}{stage:<9}{''.join(f'{figure:>10}' for figure in figures)}".rstrip()


def _cells(each: Run, aligned: Aligned) -> list[str | Cell]:
    from whisper_max.commands.demo_screen import megabytes
    from whisper_max.measure.demo.differences import n_different

    style = {"done": "green", "skipped": "dim", "failed": "red"}.get(each.stage, "")
    head: list[str | Cell] = [each.tier.name, Cell(each.stage, style)]
    if each.stage != "done":
        return [*head, *(6 * ["-"])]
    return [
        *head,
        _seconds(each.load),
        _seconds(each.transcribe),
        "-" if each.speed is None else f"{each.speed:.1f}",
        _seconds(each.first),
        "-" if each.peak is None else megabytes(each.peak),
        str(n_different(aligned[each.tier.name])) if each.tier.name in aligned else "-",
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _report(args: argparse.Namespace, runs: Sequence[Run], aligned: Aligned, duration: float) -> dict[str, Any]:
    """All figures by name, JSON-serialisable; seconds, bytes and words."""
    from whisper_max.measure.demo.differences import n_different
    from whisper_max.measure.demo.runs import compared_with

    first = compared_with(runs)
    differing = {name: n_different(words) for name, words in aligned.items()}
    return {
        "kind": "demo",
        "whisper_max": VERSION,
        "machine": {"platform": platform.platform(), "processor": _machine(), "python": platform.python_version()},
        "audio": {"name": source_name(args.audio), "seconds": duration},
        "model": args.model,
        "at_once": args.at_once,
        "compared_with": None if first is None else first.tier.name,
        "tiers": [{**each.to_dict(), "differing_words": differing.get(each.tier.name)} for each in runs],
    }


def _machine() -> str:
    from whisper_max.measure.peaks import processor

    return processor()


def _write(args: argparse.Namespace, runs: Sequence[Run], report: dict[str, Any]) -> None:
    from whisper_max.measure.drawing.charts import Bar, bars
    from whisper_max.measure.drawing.svg import write_plot
    from whisper_max.output import write_atomically

    if args.json is not None:
        write_atomically(args.json, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    if args.plot is not None:
        title = f"{report['audio']['name']}, {report['audio']['seconds']:.0f} s, {args.model}"
        rows = [Bar(each.tier.name, [each.speed or 0.0], None, _note(each)) for each in runs]
        write_plot(args.plot, title, [bars(title, "x real time", ["seconds of sound in a second"], rows)])


def _note(each: Run) -> str:
    if each.speed is None or each.transcribe is None:
        return each.stage
    return f"{each.speed:.1f}"
