"""What ships with the package: artifacts, for a first run without a compiler; and digests of all sizes' graphs."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.artifact import ArtifactKey, artifact_key, graphs_for
from whisper_max.model.digest import Graphs

SHIPPED_STORAGE = (DType.int8, DType.float16)
SHIPPED_CPUS = ("x86-64-v3", "x86-64-v4", "neoverse-n1")


def shipped_keys() -> list[ArtifactKey]:
    """The keys of all artifacts that belong in the package, each once: models of a size share them."""
    keys = (
        artifact_key(model.dims, DType.float32, storage, f"cpu:{processor}")
        for model in MODELS.values()
        for storage in SHIPPED_STORAGE
        for processor in SHIPPED_CPUS
    )
    return list(dict.fromkeys(keys))


def listed_graphs() -> list[Graphs]:
    """The graphs whose digests are listed beside the artifacts: of every published size on a CPU, each once."""
    graphs = (
        graphs_for(model.dims, DType.float32, storage, f"cpu:{SHIPPED_CPUS[0]}")
        for model in MODELS.values()
        for storage in SHIPPED_STORAGE
    )
    return list(dict.fromkeys(graphs))
