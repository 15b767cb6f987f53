"""``inspect`` on the command line: what a checkpoint is, without loading it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.commands.checkpoint import add_checkpoint_options
from whisper_max.commands.console import EXIT_OK, print_progress
from whisper_max.commands.flags import Subcommands

if TYPE_CHECKING:
    from whisper_max.measure.inspect import Inspection


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="what a model file or folder is: size, format, quantisation, languages, words",
        description="Print what a model is, without loading it.",
        epilog="example: python -m whisper_max inspect fine-tuned/ --json",
    )
    add_checkpoint_options(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what a model is."""
    from whisper_max.checkpoint import resolve
    from whisper_max.measure.inspect import inspect

    folder = Path(args.model_dir) if args.model_dir else None
    found = inspect(resolve(args.model, offline=args.offline, weights_dir=folder, announce=print_progress))
    print(json.dumps(found.to_dict(), indent=1) if args.json else "\n".join(lines(found)))
    return EXIT_OK


def lines(found: Inspection) -> list[str]:
    """An inspection for people."""
    dims = found.dims
    size = f"{dims.n_audio_layer}+{dims.n_text_layer} blocks of width {dims.n_audio_state}, {dims.n_mels} mel bins"
    names = f"{len(found.languages)}" if len(found.languages) > 1 else "English"
    rows = {
        "size": size if found.size is None else f"{found.size}: {size}",
        "format": f"{found.format}, {found.weights}, {found.bytes / 1e6:.0f} MB",
        "languages": names + (f", {found.added_words} added words" if found.added_words else ""),
        "words": found.words,
        "ready": ", ".join(found.ready) or "nothing: it is compiled at the first load",
    }
    return [found.source, *(f"  {name:<10} {value}" for name, value in rows.items())]
