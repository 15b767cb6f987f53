"""Which artifacts of a model are on this machine, so that loading it compiles nothing."""

from __future__ import annotations

from pathlib import Path

from max.dtype import DType

from whisper_max.compile.artifact import SHIPPED, artifact_key
from whisper_max.compile.store import cache_folder, own_folders
from whisper_max.dims import ModelDimensions
from whisper_max.hardware.processors import cpu_codes

_STORAGES = {"int8": DType.int8, "float16": DType.float16, "float32": DType.float32}


def ready_storages(dims: ModelDimensions) -> tuple[str, ...]:
    """How matrices may be held on this machine's CPU without compiling: "int8", "float16", "float32"."""
    folders = [*own_folders(), cache_folder(), SHIPPED]
    return tuple(name for name, storage in _STORAGES.items() if _is_ready(dims, storage, folders))


def _is_ready(dims: ModelDimensions, storage: DType, folders: list[Path]) -> bool:
    alike = (
        f"{dims.n_audio_state}x{dims.n_audio_layer}-{dims.n_text_state}x{dims.n_text_layer}-*-{storage.name}-cpu-*.wmx"
    )
    if not any(any(folder.glob(alike)) for folder in folders):
        return False  # without building graphs to name what is not there
    keys = [artifact_key(dims, DType.float32, storage, code, folders) for code in cpu_codes()]
    return any((folder / key.file_name).exists() for folder in folders for key in keys)
