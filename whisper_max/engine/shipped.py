"""Which artifacts ship with the package: for whom a first run needs no compiler."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.engine.artifact import ArtifactKey, artifact_key

SHIPPED_MODELS = ("tiny", "base", "small")
"""Small to large; those for English alone share an artifact with them."""
SHIPPED_STORAGE = (DType.float16, DType.int8)
SHIPPED_CPUS = ("x86-64-v3", "x86-64-v4")


def shipped_keys() -> list[ArtifactKey]:
    """The keys of all artifacts that belong in the package, each once, in the order to make them in."""
    keys = (
        artifact_key(MODELS[model].dims, DType.float32, storage, f"cpu:{level}")
        for model in SHIPPED_MODELS
        for storage in SHIPPED_STORAGE
        for level in SHIPPED_CPUS
    )
    return list(dict.fromkeys(keys))
