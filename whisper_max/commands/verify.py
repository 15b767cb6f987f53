"""``verify`` on the command line: each stage of a model against stored reference values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whisper_max.commands.console import EXIT_FAILED, EXIT_OK, Cell, Table, print_table, progress
from whisper_max.commands.flags import MODEL_OPTIONS, Subcommands, add_plot_option
from whisper_max.commands.loading import add_model_options, load_from

if TYPE_CHECKING:
    from whisper_max.measure.verify import Comparison

_BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}]"
_COLUMNS = ("stage", "error>", "tolerance>", "kind", "")
_HEADER = f"{'stage':<36}{'error':>12}{'tolerance':>12}  {'kind':<10}"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "verify",
        help="prove a model against stored reference values",
        description="Compare every stage of a model with stored values of openai-whisper.",
        epilog="example, in a clone: python -m whisper_max verify base --reference tests/reference/base",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_OPTIONS[0].help)
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="folder of reference values")
    add_plot_option(parser, "each stage's error beside its tolerance")
    add_model_options(parser, but=("model",))
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Print how far each stage is from the reference; fail where one is further than tolerated."""
    from whisper_max.engine import WhisperEngine
    from whisper_max.measure.drawing.svg import write_plot
    from whisper_max.measure.verify import draw_comparisons, read_reference, verify
    from whisper_max.output import check_writable

    reference = read_reference(args.reference)
    model = load_from(args)
    if args.plot is not None:
        check_writable(args.plot)
    found = []
    with progress(len(reference.manifest["stages"]), _BAR) as bar:
        for comparison in verify(cast(WhisperEngine, model.inference), reference):
            found.append(comparison)
            bar.update(1)
    print_table(Table(_COLUMNS, [_row(each) for each in found]), [_HEADER, *map(_plain, found)])
    n_failed = sum(not each.passed for each in found)
    print("all stages are within tolerance" if not n_failed else f"{n_failed} stages are out of tolerance")
    if args.plot is not None:
        write_plot(args.plot, f"{args.model} against {args.reference}", draw_comparisons(found))
    return EXIT_FAILED if n_failed else EXIT_OK


def _row(comparison: Comparison) -> list[str | Cell]:
    verdict = Cell("ok", "green") if comparison.passed else Cell("FAILED", "red")
    return [comparison.stage, f"{comparison.error:.2e}", f"{comparison.tolerance:.0e}", comparison.kind, verdict]


def _plain(comparison: Comparison) -> str:
    numbers = f"{comparison.error:>12.2e}{comparison.tolerance:>12.0e}"
    return f"{comparison.stage:<36}{numbers}  {comparison.kind:<10}{'ok' if comparison.passed else 'FAILED'}"
