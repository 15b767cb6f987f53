"""Compile the artifacts that ship inside the package: ``python scripts/build_artifacts.py``.

Run it after any change to ``whisper_max/graph`` or to the pinned version of MAX; it takes a minute or more each, skips
what is up to date, and removes what is stale. The tests fail while a shipped artifact is stale.
"""

from __future__ import annotations

import sys
import time

from whisper_max.engine.artifact import SHIPPED, write_artifact
from whisper_max.engine.compiler import compile_module
from whisper_max.engine.shipped import shipped_keys


def main() -> int:
    """Bring the shipped artifacts up to date."""
    keys = shipped_keys()
    current = {key.file_name for key in keys}
    for path in SHIPPED.glob("*.wmx"):
        if path.name not in current:
            print(f"removing {path.name}, which is stale")
            path.unlink()
    for number, key in enumerate(keys, start=1):
        path = SHIPPED / key.file_name
        if path.exists():
            print(f"{number}/{len(keys)} {path.name}: up to date")
            continue
        print(f"{number}/{len(keys)} {path.name}: compiling", flush=True)
        start = time.monotonic()
        write_artifact(path, compile_module(key.dims, key.dtype, key.storage, key.code))
        print(f"  {path.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
