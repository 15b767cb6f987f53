"""The compiled graph that encodes a window piece by piece: in int8, for sizes that it was measured with, on CPUs.

It has an artifact of its own, beside that of the model's other graphs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from whisper_max.checkpoint.published import MODELS
from whisper_max.compile.artifact import SHIPPED
from whisper_max.compile.compiler import compile_renewal
from whisper_max.compile.store import Report, find_artifact, own_folders, reporting
from whisper_max.dims import ModelDimensions
from whisper_max.hardware.processors import cpu_codes, is_native
from whisper_max.model.digest import listed, module_digest, remembered

_MODELS = ("tiny.en", "base")


def renewed_sizes() -> list[ModelDimensions]:
    """A model of each size that there is a graph for."""
    return [MODELS[name].dims for name in _MODELS]


def is_renewed(dims: ModelDimensions) -> bool:
    """Whether there is a graph for a model, whose vocabulary and decoder don't matter."""
    return name_of(dims) in map(name_of, renewed_sizes())


def name_of(dims: ModelDimensions) -> str:
    """What a size's graph is called where digests are listed."""
    sizes = (dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer, dims.n_mels, dims.n_audio_ctx)
    return "-".join(["renewal", *map(str, sizes)])


def file_name(dims: ModelDimensions, code: str, folders: Iterable[Path] = (SHIPPED,)) -> str:
    """The artifact that this version of the code needs.

    Args:
        dims: the model's.
        code: a Target's.
        folders: where digests of graphs may be listed.
    """
    name = name_of(dims)
    found = next((digest for folder in folders if (digest := listed(folder).get(name))), None)
    digest = found or remembered(name, lambda: build_digest(dims))
    key = hashlib.sha256("\n".join([name, code, version("max-core"), digest]).encode()).hexdigest()[:16]
    return f"{name}-{code.replace(':', '-')}-{key}.wmx"


def build_digest(dims: ModelDimensions) -> str:
    """The digest of the graph, by building it."""
    from whisper_max.model.module import kernel_library
    from whisper_max.model.renewal import build_module

    return module_digest(build_module(dims, kernel_library(check=False))[0])


def find_renewal(dims: ModelDimensions, report: Report) -> bytes:
    """The compiled module for this machine's CPU.

    Raises:
        ArtifactError: as ``find_module``.
    """
    folders = [*own_folders(), SHIPPED]
    names = {file_name(dims, code, folders): code for code in cpu_codes()}
    portable = next((name for name, code in names.items() if not is_native(code)), next(iter(names)))

    def compile_wanted(report: Report) -> bytes:
        report(f"compiling the encoder of growing windows for {names[portable]}: happens once, takes a minute")
        with reporting(report):
            return compile_renewal(dims, names[portable])

    return find_artifact(names, portable, compile_wanted, report).module
