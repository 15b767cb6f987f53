"""Compile what a first run on a GPU loads: ``python scripts/gpu/gpu_artifacts.py FOLDER``; needs no GPU.

One artifact for each dtype, size and form, in the order in which a first run misses them most; a fast one takes
minutes, a plain one many. What the folder has already stays, so it can be ended and started again. One after the other,
what each took is told in a line of a table. ``--rehearsal`` compiles what ``--device cpu`` needs.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from gpu_tools.modules import find_checks
from gpu_tools.names import DTYPES, FORMS, size_name
from gpu_tools.sizes import dims_of
from gpu_tools.variants import code_of
from max.dtype import DType

from whisper_max.compile.artifact import artifact_key
from whisper_max.compile.build import Build, compile_into
from whisper_max.errors import WhisperMaxError

SIZES = ("tiny.en", "base", "small", "large-v3-turbo", "large-v3")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.rehearsal:
        find_checks(dims_of("tiny-shape"), DType.float32, f"cpu:native-{platform.machine()}", args.folder)
        return 0
    try:
        compile_all(args.folder, wanted(args.sizes, args.dtypes, args.forms, args.architecture), args.jobs)
    except WhisperMaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made when missing")
    parser.add_argument("--sizes", nargs="+", type=size_name, default=SIZES)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16"], choices=DTYPES)
    parser.add_argument("--forms", nargs="+", default=["fast"], choices=FORMS)
    parser.add_argument("--architecture", default="sm_90a")
    parser.add_argument("--jobs", type=int, default=1, help="how many to compile side by side; more than one untold")
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


def compile_all(folder: Path, builds: Sequence[Build], n_jobs: int) -> None:
    """Compile into a folder; one after the other, telling what each took.

    Raises:
        ArtifactError: as ``compile_into``.
    """
    if n_jobs > 1:
        compile_into(folder, builds, print, n_jobs)
        return
    print("| artifact | processor s | largest process so far, GB | MB |\n| --- | --- | --- | --- |", flush=True)
    for build in builds:
        is_there = (folder / build.key.file_name).exists()
        before = getrusage(RUSAGE_CHILDREN)
        (path,) = compile_into(folder, [build], partial(print, file=sys.stderr, flush=True))
        used = getrusage(RUSAGE_CHILDREN)
        # Each pair apart: where nothing ran, the sum of all four rounds to less than nothing.
        seconds = (used.ru_utime - before.ru_utime) + (used.ru_stime - before.ru_stime)
        took = "was there |" if is_there else f"{seconds:.0f} | {used.ru_maxrss / 1e6:.1f}"  # ru_maxrss is in kB
        print(f"| {build.target} | {took} | {path.stat().st_size / 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
