"""Compiled graphs made on purpose: for targets that the user names, which need not be this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from max.dtype import DType

from whisper_max.compile.artifact import SHIPPED, ArtifactKey, artifact_key, read_artifact, write_artifact
from whisper_max.compile.store import cache_folder, compile_artifact
from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.files.atomic import try_to_write, whole_file
from whisper_max.hardware.processors import target_code
from whisper_max.hardware.target import dtypes
from whisper_max.model.digest import list_graphs

Report = Callable[[str], object]
MANIFEST = "artifacts.json"
Storage: TypeAlias = DType
"""The dtype of the matrices of linear layers, for those who know nothing else of MAX."""


@dataclass(frozen=True)
class Build:
    """One artifact to make: for which target, as the user names it, and its key."""

    target: str
    key: ArtifactKey


def builds(dims: ModelDimensions, targets: Sequence[str], compute_type: str, storage: DType) -> list[Build]:
    """What to make for some targets, each once.

    Args:
        dims: the model's.
        targets: as ``target_code`` takes them, or codes.
        compute_type: as ``load_model`` takes it.
        storage: what holds the model's matrices where the compute type leaves that open.

    Raises:
        OptionError: an unknown target, or a compute type that a target doesn't offer.
    """
    made: dict[ArtifactKey, Build] = {}
    for target in targets:
        code = target if "native-" in target else target_code(target)
        dtype, matrices = dtypes(code.partition(":")[0], compute_type)
        key = artifact_key(dims, dtype, matrices or storage, code)
        made.setdefault(key, Build(target, key))
    return list(made.values())


def module_for(key: ArtifactKey, report: Report) -> Path:
    """The file of an artifact: shipped, in the cache, or compiled now and kept there.

    Raises:
        ArtifactError: no compiler is installed, compiling failed, or the result can't be kept.
    """
    for path in (SHIPPED / key.file_name, cache_folder() / key.file_name):
        if path.exists():
            read_artifact(path)
            return path
    path = cache_folder() / key.file_name
    write_artifact(path, compile_artifact(key, report))
    return path


def compile_into(folder: Path, wanted: Sequence[Build], report: Report, n_jobs: int = 1) -> list[Path]:
    """Compile artifacts into a folder and list them in its manifest; what is there already stays.

    Args:
        folder: made when missing; the engine finds what is in it where ``WHISPER_MAX_ARTIFACTS`` names it.
        wanted: what to make.
        report: called with a line for people before, while and after each is compiled.
        n_jobs: how many are compiled side by side, each in a process of its own.

    Raises:
        ArtifactError: no compiler is installed, compiling failed, or the folder can't be written.
    """
    try:
        try_to_write(folder / MANIFEST)
    except OSError as error:
        raise ArtifactError("can't be written", where=folder, found=error.strerror) from error
    listing = Lock()

    def make(number: int, build: Build) -> Path:
        path = folder / build.key.file_name
        place = f"[{number}/{len(wanted)}] {build.target}"
        if path.exists():
            read_artifact(path)
            report(f"{place}: {path} is there")
        else:
            report(place)
            start = time.monotonic()
            write_artifact(path, compile_artifact(build.key, report))
            size = path.stat().st_size / 1e6
            report(f"{place}: {path}, {size:.2f} MB, {time.monotonic() - start:.0f} s")
        with listing:
            _list(folder, build, path)
        return path

    with ThreadPoolExecutor(n_jobs) as pool:
        return list(pool.map(make, range(1, len(wanted) + 1), wanted))


def _list(folder: Path, build: Build, path: Path) -> None:
    """Add an artifact to the folder's manifest, and its graphs to the folder's list."""
    manifest = folder / MANIFEST
    entry = {
        "target": build.target,
        "code": build.key.code,
        "dims": asdict(build.key.dims),
        "dtype": build.key.dtype.name,
        "storage": build.key.storage.name,
        "max": build.key.max_version,
        "graphs": build.key.digest,
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    try:
        listed: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
        with whole_file(manifest) as file:
            file.write(json.dumps({**listed, path.name: entry}, indent=1, sort_keys=True).encode() + b"\n")
        list_graphs(folder, {build.key.graphs.name: build.key.digest})
    except (OSError, ValueError) as error:
        raise ArtifactError("the manifest can't be read or written", where=manifest, found=error) from error
