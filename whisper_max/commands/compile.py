"""``compile`` on the command line: graphs made ready for this and other machines."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.commands.checkpoint import COMPUTE_TYPES, TARGET_HELP, add_checkpoint_options, checkpoint_from
from whisper_max.commands.console import EXIT_OK, print_progress
from whisper_max.commands.flags import Subcommands

if TYPE_CHECKING:
    from whisper_max.compile.build import Storage
    from whisper_max.dims import ModelDimensions


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "compile",
        help="compile a model's graphs for this or other machines",
        description="Compile a model's graphs ahead of their first use, for this machine or for others.",
        epilog="example: python -m whisper_max compile medium --target cpu:x86-64-v3 cuda:sm_90a -o artifacts",
    )
    add_checkpoint_options(parser)
    parser.add_argument("--target", nargs="+", required=True, metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("--compute_type", default="auto", metavar="TYPE", help=COMPUTE_TYPES)
    parser.add_argument(
        "-o", "--output_dir", type=Path, metavar="DIR", help="where to; this machine's cache when not given"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile for each target, into a folder or the cache."""
    from whisper_max.compile.build import builds, compile_into
    from whisper_max.compile.store import cache_folder

    dims, compute_type, storage = _model(args)
    wanted = builds(dims, args.target, compute_type, storage)
    start = time.monotonic()
    paths = compile_into(args.output_dir or cache_folder(), wanted, print_progress)
    print_progress(f"{len(paths)} ready in {time.monotonic() - start:.0f} s")
    if args.output_dir is not None:
        print_progress(f"they are found where WHISPER_MAX_ARTIFACTS={args.output_dir} is set")
    return EXIT_OK


def _model(args: argparse.Namespace) -> tuple[ModelDimensions, str, Storage]:
    """Dims, compute type and exact dtype; of what OpenAI published they are known without the weights."""
    from whisper_max.checkpoint.published import ALIASES, MODELS
    from whisper_max.engine.storage import PUBLISHED_STORAGE, compute_type_for, narrowest_exact

    published = MODELS.get(ALIASES.get(args.model, args.model))
    if published is not None and published.hub_id.startswith("openai/"):
        return published.dims, args.compute_type, PUBLISHED_STORAGE
    checkpoint = checkpoint_from(args)
    return checkpoint.dims, compute_type_for(checkpoint, args.compute_type), narrowest_exact(checkpoint)
