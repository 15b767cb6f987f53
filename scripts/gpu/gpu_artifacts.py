"""Compile what a first run on a GPU loads: ``python scripts/gpu/gpu_artifacts.py FOLDER``; needs no GPU, takes hours.

One artifact for each dtype, size and form, in the order in which a first run misses them most. What the folder has
already stays, so it can be ended and started again. ``--rehearsal`` compiles what ``--device cpu`` needs, in minutes.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_tools.modules import find_checks
from gpu_tools.sizes import dims_of
from gpu_tools.variants import code_of
from max.dtype import DType

from whisper_max.compile.artifact import artifact_key
from whisper_max.compile.build import Build, compile_into
from whisper_max.errors import WhisperMaxError


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.rehearsal:
        find_checks(dims_of("tiny-shape"), DType.float32, f"cpu:native-{platform.machine()}", args.folder)
        return 0
    try:
        compile_into(args.folder, wanted(args.sizes, args.dtypes, args.forms, args.architecture), print, args.jobs)
    except WhisperMaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made when missing")
    parser.add_argument("--sizes", nargs="+", default=["tiny.en", "base", "large-v3-turbo", "large-v3"])
    parser.add_argument(
        "--dtypes", nargs="+", default=["bfloat16", "float32"], choices=["bfloat16", "float32", "float16"]
    )
    parser.add_argument("--forms", nargs="+", default=["plain", "fast"], choices=["plain", "fast"])
    parser.add_argument("--architecture", default="sm_90a")
    parser.add_argument("--jobs", type=int, default=1, help="how many to compile side by side")
    parser.add_argument("--rehearsal", action="store_true", help="only what a rehearsal on a CPU needs")
    return parser


def wanted(sizes: Sequence[str], dtypes: Sequence[str], forms: Sequence[str], architecture: str) -> list[Build]:
    """What to compile: all sizes and forms in the first dtype, then in the next."""
    return [
        Build(f"{size} {dtype} {form}", artifact_key(dims_of(size), DType[dtype], DType[dtype], code))
        for dtype in dtypes
        for size in sizes
        for form in forms
        for code in [code_of(architecture, form)]
    ]


if __name__ == "__main__":
    sys.exit(main())
