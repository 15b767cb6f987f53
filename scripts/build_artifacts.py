"""Compile the artifacts that ship inside the package: ``python scripts/build_artifacts.py``.

Run it after any change to ``whisper_max/graph`` or to the pinned version of MAX: one to three minutes an artifact, the
smallest models first, one after the other. What is up to date is skipped, so a run that was stopped goes on; what is
stale is removed at the end. The tests fail while a shipped artifact is stale or missing.
"""

from __future__ import annotations

import argparse
import sys
import time

from whisper_max.engine.artifact import SHIPPED, write_artifact
from whisper_max.engine.compiler import compile_module
from whisper_max.engine.shipped import shipped_keys


def main() -> int:
    """Bring the shipped artifacts up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="say what would be compiled and removed, and do nothing")
    args = parser.parse_args()
    keys = shipped_keys()
    missing = [key for key in keys if not (SHIPPED / key.file_name).exists()]
    stale = [path for path in SHIPPED.glob("*.wmx") if path.name not in {key.file_name for key in keys}]
    print(f"{len(keys) - len(missing)} up to date, {len(missing)} to compile, {len(stale)} stale", flush=True)
    for number, key in enumerate(missing, start=1):
        print(f"[{number}/{len(missing)}] {key.file_name}", flush=True)
        if not args.list:
            start = time.monotonic()
            path = SHIPPED / key.file_name
            write_artifact(path, compile_module(key.dims, key.dtype, key.storage, key.code))
            print(f"    {path.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.0f} s", flush=True)
    for path in stale:
        print(f"stale: {path.name}", flush=True)
        if not args.list:
            path.unlink()
    total = sum(path.stat().st_size for path in SHIPPED.glob("*.wmx"))
    print(f"{total / 1e6:.2f} MB together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
