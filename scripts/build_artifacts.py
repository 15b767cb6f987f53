"""Compile the artifacts that ship inside the package: ``python scripts/build_artifacts.py``.

Run it after any change to ``whisper_max/graph`` or to the pinned version of MAX; it takes some minutes a model, skips
what is up to date, and removes what is stale. The tests fail while a shipped artifact is stale.
"""

from __future__ import annotations

import sys
import time

from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.engine.artifact import SHIPPED, artifact_key, write_artifact
from whisper_max.engine.compiler import compile_module
from whisper_max.engine.devices import PORTABLE_CPU

SHIPPED_MODELS = ("base", "tiny.en")


def main() -> int:
    """Bring the shipped artifacts up to date."""
    keys = {name: artifact_key(MODELS[name].dims, DType.float32, f"cpu:{PORTABLE_CPU}") for name in SHIPPED_MODELS}
    current = {key.file_name for key in keys.values()}
    for name, key in keys.items():
        path = SHIPPED / key.file_name
        if path.exists():
            print(f"{name}: up to date")
            continue
        print(f"{name}: compiling for {key.code}", flush=True)
        start = time.monotonic()
        write_artifact(path, compile_module(key.dims, key.dtype, key.code))
        print(f"{name}: {path.name}, {path.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.0f} s", flush=True)
    for path in SHIPPED.glob("*.wmx"):
        if path.name not in current:
            print(f"removing {path.name}, which is stale")
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
