"""``export`` on the command line: a folder that runs with no compiler and no network."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from whisper_max.commands.checkpoint import COMPUTE_TYPES, TARGET_HELP, add_checkpoint_options, checkpoint_from
from whisper_max.commands.console import EXIT_OK, print_progress
from whisper_max.commands.flags import Subcommands

_HERE_HELP = f"{TARGET_HELP}; the most portable that this CPU runs when not given"


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "export",
        help="a folder that runs with no compiler and no network",
        description="Write a bundle: weights, compiled graphs and vocabulary in one folder, which --model and"
        " load_model take.",
        epilog="example: python -m whisper_max export base base-bundle --target cpu:x86-64-v3 cpu:x86-64-v4",
    )
    add_checkpoint_options(parser)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder, or an older bundle")
    parser.add_argument("--target", nargs="+", default=[], metavar="TARGET", help=_HERE_HELP)
    parser.add_argument("--compute_type", default="auto", metavar="TYPE", help=COMPUTE_TYPES)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a bundle."""
    from whisper_max.compile.bundle import write_bundle
    from whisper_max.engine.storage import compute_type_for, narrowest_exact

    checkpoint = checkpoint_from(args)
    start = time.monotonic()
    compute_type, storage = compute_type_for(checkpoint, args.compute_type), narrowest_exact(checkpoint)
    write_bundle(checkpoint, args.folder, args.target, compute_type, storage, print_progress)
    size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file()) / 1e6
    print_progress(f"{args.folder}: {size:.0f} MB, {time.monotonic() - start:.0f} s; load it by this path")
    return EXIT_OK
