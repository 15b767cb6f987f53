"""Compile the artifacts that ship inside the package: ``python scripts/build/build_artifacts.py``.

Run it after a change of the CPU's graphs or kernels, or of the pinned version of MAX: one to three minutes an artifact
and core, the smallest models first. What is up to date is skipped, so a run that was stopped goes on; what is stale is
removed at the end. The tests fail while a shipped artifact is stale or missing.

It also lists the digests of the graphs, which spares whoever loads a model building them. Before a release, run it
whatever changed: the list holds for the code of ``whisper_max/model`` as it was then.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from max.dtype import DType

from whisper_max.compile import renewal, speakers
from whisper_max.compile.artifact import SHIPPED, ArtifactKey, write_artifact
from whisper_max.compile.compiler import compile_module, compile_renewal, compile_speakers
from whisper_max.compile.shipped import SHIPPED_CPUS, listed_graphs, shipped_keys
from whisper_max.dims import ModelDimensions
from whisper_max.hardware.cores import usable_cores
from whisper_max.model.digest import list_graphs, listed


def main() -> int:
    """Bring the shipped artifacts up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="do nothing, say what would be; fail if there is anything")
    jobs = usable_cores()
    parser.add_argument("--jobs", type=int, default=jobs, help=f"to compile at a time, 1.3 GB each (default: {jobs})")
    args = parser.parse_args()
    wanted = all_shipped()
    missing = [name for name in wanted if not (SHIPPED / name).exists()]
    stale = [path for path in SHIPPED.glob("*.wmx") if path.name not in wanted]
    print(f"{len(wanted) - len(missing)} up to date, {len(missing)} to compile, {len(stale)} stale", flush=True)
    if args.list:
        print("\n".join(missing))
    else:
        with ThreadPoolExecutor(args.jobs) as pool:  # each waits for a process of its own
            for number, line in enumerate(pool.map(lambda name: make(name, wanted[name]), missing), start=1):
                print(f"[{number}/{len(missing)}] {line}", flush=True)
    for path in stale:
        print(f"stale: {path.name}", flush=True)
        if not args.list:
            path.unlink()
    known = listed(SHIPPED)
    digests = {graphs.name: graphs.digest for graphs in listed_graphs()} | {speakers.NAME: speakers.build_digest}
    digests |= {renewal.name_of(dims): partial(renewal.build_digest, dims) for dims in renewal.renewed_sizes()}
    unlisted = {name: digest for name, digest in digests.items() if name not in known}
    print(f"{len(unlisted)} digests of graphs to list", flush=True)
    if not args.list:
        list_graphs(SHIPPED, {name: digest() for name, digest in unlisted.items()})
    total = sum(path.stat().st_size for path in SHIPPED.glob("*.wmx"))
    print(f"{total / 1e6:.2f} MB together")
    return 1 if args.list and (missing or stale or unlisted) else 0


def make(name: str, compiled: Callable[[], bytes]) -> str:
    """Compile one artifact; what there is to say of it."""
    start = time.monotonic()
    path = SHIPPED / name
    write_artifact(path, compiled())
    return f"{name}: {path.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.0f} s"


def all_shipped() -> dict[str, Callable[[], bytes]]:
    """What belongs in the package by the name of its file, and what compiles it."""
    compiled: dict[str, Callable[[], bytes]] = {
        key.file_name: partial(compile_module, *of_key(key)) for key in shipped_keys()
    }
    for code in (f"cpu:{processor}" for processor in SHIPPED_CPUS):
        compiled[speakers.file_name(code)] = partial(compile_speakers, code)
        for dims in renewal.renewed_sizes():
            compiled[renewal.file_name(dims, code)] = partial(compile_renewal, dims, code)
    return compiled


def of_key(key: ArtifactKey) -> tuple[ModelDimensions, DType, DType, str]:
    """What compiling takes."""
    return key.dims, key.dtype, key.storage, key.code


if __name__ == "__main__":
    sys.exit(main())
