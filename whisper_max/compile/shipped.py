"""What ships with the package: artifacts, for a first run without a compiler; and digests of all sizes' graphs."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.artifact import ArtifactKey, artifact_key, graphs_for
from whisper_max.model.digest import Graphs

SHIPPED_STORAGE = (DType.int8, DType.float16)
SHIPPED_CPUS = ("x86-64-v3", "x86-64-v4")
SHIPPED_ON_ARM = (("tiny.en", DType.int8), ("tiny.en", DType.float16))
"""Models, and what their matrices are in, that ship for Arm servers, too: those that were tried, under emulation."""


def shipped_keys() -> list[ArtifactKey]:
    """The keys of all artifacts that belong in the package, each once: models of a size share them."""
    keys = [
        artifact_key(model.dims, DType.float32, storage, f"cpu:{level}")
        for model in MODELS.values()
        for storage in SHIPPED_STORAGE
        for level in SHIPPED_CPUS
    ]
    keys += [
        artifact_key(MODELS[name].dims, DType.float32, storage, "cpu:neoverse-n1") for name, storage in SHIPPED_ON_ARM
    ]
    return list(dict.fromkeys(keys))


def listed_graphs() -> list[Graphs]:
    """The graphs whose digests are listed beside the artifacts: of every published size on a CPU, each once."""
    graphs = (
        graphs_for(model.dims, DType.float32, storage, f"cpu:{SHIPPED_CPUS[0]}")
        for model in MODELS.values()
        for storage in SHIPPED_STORAGE
    )
    return list(dict.fromkeys(graphs))
