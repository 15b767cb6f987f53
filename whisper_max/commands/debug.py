"""``debug`` on the command line: inside one window of a recording, as pictures and figures; two models compared."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.commands.console import EXIT_FAILED, EXIT_OK, Cell, Table, print_table, progress
from whisper_max.commands.flags import Subcommands, language, output_file
from whisper_max.commands.loading import add_model_options, load_from
from whisper_max.files.remote import source_name

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.measure.debug import Difference, Stage

_DEVICE = re.compile(r"(cpu|gpu|cuda)(:\d+)?")
_COMPUTE_TYPES = ("float32", "int8", "float16", "bfloat16")
_BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}]"
_AGAINST = "a compute type, a device or a model (name, folder, file or hub id), all else being the same"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "debug",
        help="look inside a model on one window of a recording, and compare two models stage by stage",
        description="Write the log-mel, what each stage holds and what the text attends to as pictures, a page and"
        " JSON; with --against, name the first stage at which another model, compute type or device leaves its"
        " tolerance.",
        epilog="example: python -m whisper_max debug talk.mp3 --against int8 -o looked_at",
    )
    parser.add_argument("audio", metavar="AUDIO", help="a recording")
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="SECONDS", help="where the window begins")
    parser.add_argument("--language", type=language, help="language spoken; detected when not given")
    parser.add_argument(
        "--output_dir", "-o", type=output_file, default=Path("debug"), metavar="DIR", help="where to write"
    )
    parser.add_argument("--against", metavar="WHAT", help=f"compare with {_AGAINST}")
    parser.add_argument(
        "--tolerance", type=_tolerance, metavar="NUMBER", help="relative error that a stage may have; by compute type"
    )
    add_model_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _seconds(text: str) -> float:
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, found {text}")
    return float(text)


def _tolerance(text: str) -> float:
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number, 0 or more, found {text}")
    return float(text)


def other_model(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments with what ``--against`` names in the place of the compute type, the device or the model."""
    what: str = args.against
    if what in _COMPUTE_TYPES:
        changed: dict[str, Any] = {"compute_type": what, "fp16": None}
    elif _DEVICE.fullmatch(what.lower()):
        changed = {"device": what}
    else:
        changed = {"model": what, "lora": ()}
    return argparse.Namespace(**{**vars(args), **changed})


def run(args: argparse.Namespace) -> int:
    """Look at the window, compare, write; fail where a stage is out of its tolerance."""
    if args.tolerance is not None and args.against is None:
        args.parser.error("--tolerance needs --against")
    from whisper_max.audio.io import open_audio
    from whisper_max.measure.debug import (
        Report,
        check_comparable,
        check_start,
        compare,
        describe,
        listen,
        open_window,
        stages,
        tolerance_for,
    )
    from whisper_max.output import check_writable

    with open_audio(args.audio) as waveform:  # what is no audio is refused before anything takes long
        check_start(waveform, args.start)
    check_writable(args.output_dir / "index.html")
    model = load_from(args)
    window = open_window(args.audio, args.start, model.dims.n_mels)
    n_stages = 5 + model.dims.n_audio_layer + 2 * model.dims.n_text_layer
    with progress((1 if args.against is None else 2) * n_stages, _BAR) as bar:
        bar.set_description_str("stages")
        said = listen(model, window, args.language)
        values, described = {}, []
        for name, value in stages(model, window.mel, said.tokens):
            described.append(describe(name, value))
            if args.against is not None:
                values[name] = value.copy()
            bar.update(1)
        difference = against = None
        if args.against is not None:
            dims, target, name = model.dims, model.target, model_name(model, args)
            del model  # two large models need not fit at once
            chosen = other_model(args)
            other = load_from(chosen)
            check_comparable(dims, other.dims)
            bar.set_description_str(args.against)
            targets = (target, other.target)
            difference = compare(
                values,
                stages(other, window.mel, said.tokens),
                lambda stage: tolerance_for(stage, *targets) if args.tolerance is None else args.tolerance,
                lambda: bar.update(1),
            )
            against = f"{model_name(other, chosen)} on {other.target}"
        else:
            target, name = model.target, model_name(model, args)
    about = {"audio": source_name(args.audio), "model": name, "target": target}
    report = Report(about, window, said, described, difference, against)
    end = window.start + window.duration
    print(f"{name} on {target}, {source_name(args.audio)} from {window.start:.2f} to {end:.2f} s")
    print(f"{said.language}: {said.text}")
    if difference is None:
        _print_stages(described)
    else:
        print(f"against {against}")
        _print_difference(difference)
    print(f"wrote {', '.join(map(str, report.write(args.output_dir)))}")
    return EXIT_FAILED if difference is not None and difference.first is not None else EXIT_OK


def model_name(model: Model, args: argparse.Namespace) -> str:
    """A model as it was asked for."""
    return model.name or str(args.model)


def _print_stages(described: Sequence[Stage]) -> None:
    columns = ["stage", "mean>", "deviation>", "least>", "most>", ""]
    rows: list[list[str | Cell]] = []
    for stage in described:
        figures = (stage.mean, stage.deviation, stage.least, stage.most)
        amiss = Cell(f"{stage.n_not_finite} not finite", "red") if stage.n_not_finite else ""
        rows.append([stage.name, *(f"{figure:.4g}" for figure in figures), amiss])
    plain = [f"{'stage':<36}{'mean':>12}{'deviation':>12}{'least':>12}{'most':>12}"]
    for row in rows:
        cells = [each.text if isinstance(each, Cell) else each for each in row]
        plain.append(f"{cells[0]:<36}{''.join(f'{cell:>12}' for cell in cells[1:5])}  {cells[5]}".rstrip())
    print_table(Table(columns, rows), plain)


def _print_difference(difference: Difference) -> None:
    columns = ["stage", "relative error>", "tolerance>", ""]
    rows: list[list[str | Cell]] = []
    plain = [f"{'stage':<36}{'error':>12}{'tolerance':>12}"]
    for each in difference.comparisons:
        numbers = (f"{each.error:.2e}", f"{each.tolerance:g}")
        verdict = Cell("ok", "green") if each.passed else Cell("FAILED", "red")
        rows.append([each.stage, *numbers, verdict])
        plain.append(f"{each.stage:<36}{numbers[0]:>12}{numbers[1]:>12}  {verdict.text}")
    print_table(Table(columns, rows), plain)
    same, n_tokens = difference.same_tokens
    print(f"the likeliest token is the same at {same} of {n_tokens} positions")
    first = difference.first
    if first is None:
        print("all stages are within tolerance")
    else:
        worst = max(difference.comparisons, key=lambda each: each.error)
        print(
            f"the first stage out of tolerance is {first.stage}: relative error {first.error:.2e}, tolerance"
            f" {first.tolerance:g}; the largest error is {worst.error:.2e}, at {worst.stage}"
        )
