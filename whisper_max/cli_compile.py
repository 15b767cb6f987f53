"""``compile``, ``export`` and ``quantize`` on the command line: models made ready for other machines."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.cli_options import MODEL_OPTIONS, HelpFormatter
from whisper_max.cli_transcribe import EXIT_OK, print_progress
from whisper_max.errors import OptionError, OutputError

if TYPE_CHECKING:
    from whisper_max.checkpoint import Checkpoint
    from whisper_max.dims import ModelDimensions
    from whisper_max.engine.build import Storage

_TARGET_HELP = "cpu:x86-64-v3, cpu:x86-64-v4, cpu:neoverse-n1, cpu:native, cuda:sm_80, cuda:sm_90a...; several at once"
_EXPORT_TARGET_HELP = f"{_TARGET_HELP}; the most portable that this CPU runs when not given"
_COMPUTE_TYPES = "auto, float32 or int8 on a CPU; auto, bfloat16, float16 or float32 on a GPU"


def add_compile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    compile_ = commands.add_parser(
        "compile",
        help="compile a model's graphs for this or other machines",
        description="Compile a model's graphs ahead of their first use, for this machine or for others.",
        epilog="example: python -m whisper_max compile medium --target cpu:x86-64-v3 cuda:sm_90a -o artifacts",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_model(compile_)
    compile_.add_argument("--target", nargs="+", required=True, metavar="TARGET", help=_TARGET_HELP)
    compile_.add_argument("--compute_type", default="auto", metavar="TYPE", help=_COMPUTE_TYPES)
    compile_.add_argument(
        "-o", "--output_dir", type=Path, metavar="DIR", help="where to; this machine's cache when not given"
    )
    compile_.set_defaults(run=run_compile)

    export = commands.add_parser(
        "export",
        help="a folder that runs with no compiler and no network",
        description="Write a bundle: weights, compiled graphs and vocabulary in one folder, which --model and"
        " load_model take.",
        epilog="example: python -m whisper_max export base base-bundle --target cpu:x86-64-v3 cpu:x86-64-v4",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_model(export)
    export.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder, or an older bundle")
    export.add_argument("--target", nargs="+", default=[], metavar="TARGET", help=_EXPORT_TARGET_HELP)
    export.add_argument("--compute_type", default="auto", metavar="TYPE", help=_COMPUTE_TYPES)
    export.set_defaults(run=run_export)

    quantize = commands.add_parser(
        "quantize",
        help="a model with int8 weights in one safetensors file",
        description="Write a model with int8 weights to one file, which --model and load_model take.",
        epilog="example: python -m whisper_max quantize tiny.en tiny-int8.safetensors",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_model(quantize)
    quantize.add_argument("output", type=Path, metavar="OUT.safetensors", help="the file to write")
    quantize.set_defaults(run=run_quantize)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_OPTIONS[0].help)
    for option in MODEL_OPTIONS:
        if option.name in ("model_dir", "offline"):
            option.add_to(parser)


def run_compile(args: argparse.Namespace) -> int:
    """Compile for each target, into a folder or the cache."""
    from whisper_max.engine.build import builds, compile_into
    from whisper_max.engine.store import cache_folder

    dims, compute_type, storage = _model(args)
    wanted = builds(dims, args.target, compute_type, storage)
    start = time.monotonic()
    paths = compile_into(args.output_dir or cache_folder(), wanted, print_progress)
    print_progress(f"{len(paths)} ready in {time.monotonic() - start:.0f} s")
    if args.output_dir is not None:
        print_progress(f"they are found where WHISPER_MAX_ARTIFACTS={args.output_dir} is set")
    return EXIT_OK


def run_export(args: argparse.Namespace) -> int:
    """Write a bundle."""
    from whisper_max.bundle import write_bundle
    from whisper_max.engine.engine import compute_type_for, narrowest_exact

    checkpoint = _checkpoint(args)
    start = time.monotonic()
    compute_type, storage = compute_type_for(checkpoint, args.compute_type), narrowest_exact(checkpoint)
    write_bundle(checkpoint, args.folder, args.target, compute_type, storage, print_progress)
    size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file()) / 1e6
    print_progress(f"{args.folder}: {size:.0f} MB, {time.monotonic() - start:.0f} s; load it by this path")
    return EXIT_OK


def run_quantize(args: argparse.Namespace) -> int:
    """Write a model with int8 weights."""
    from whisper_max.checkpoint.own_format import OwnModel, write_own_format
    from whisper_max.engine.weights import quantized

    if args.output.suffix != ".safetensors":
        raise OptionError("the name must end in .safetensors", where=args.output)
    checkpoint = _checkpoint(args)
    model = OwnModel(
        checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, checkpoint.alignment_heads, checkpoint.name
    )
    try:
        write_own_format(args.output, model, quantized)
    except OSError as error:
        raise OutputError("can't be written", where=args.output, found=error.strerror or error) from error
    print_progress(f"{args.output}: {args.output.stat().st_size / 1e6:.0f} MB; load it by this path")
    return EXIT_OK


def _checkpoint(args: argparse.Namespace) -> Checkpoint:
    from whisper_max.checkpoint import read_checkpoint, resolve

    folder = Path(args.model_dir) if args.model_dir else None
    return read_checkpoint(resolve(args.model, offline=args.offline, weights_dir=folder, announce=print_progress))


def _model(args: argparse.Namespace) -> tuple[ModelDimensions, str, Storage]:
    """Dims, compute type and exact dtype; of what OpenAI published they are known without the weights."""
    from whisper_max.checkpoint.published import ALIASES, MODELS
    from whisper_max.engine.engine import PUBLISHED_STORAGE, compute_type_for, narrowest_exact

    published = MODELS.get(ALIASES.get(args.model, args.model))
    if published is not None and published.hub_id.startswith("openai/"):
        return published.dims, args.compute_type, PUBLISHED_STORAGE
    checkpoint = _checkpoint(args)
    return checkpoint.dims, compute_type_for(checkpoint, args.compute_type), narrowest_exact(checkpoint)
