"""Finding the artifact of a model: in a bundle; else in the user's folders, the cache or the package, or compiled now.

Outside a bundle the places are looked at in this order: the folders that ``$WHISPER_MAX_ARTIFACTS`` lists, the cache
(``cache_dir()/artifacts``), the package. In each, code for this very processor goes before portable code. What is in no
place is compiled and kept in the cache.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from max.dtype import DType

from whisper_max.cache import cache_dir
from whisper_max.dims import ModelDimensions
from whisper_max.engine.artifact import SHIPPED, ArtifactKey, artifact_key, read_artifact, write_artifact
from whisper_max.engine.compiler import compile_module
from whisper_max.engine.devices import Target
from whisper_max.errors import ArtifactError

Report = Callable[[str], object]
FOLDERS = "WHISPER_MAX_ARTIFACTS"
"""The environment variable that lists the user's folders of artifacts, separated like those in ``PATH``."""
TYPICAL_MINUTES = "2 to 5 minutes"
_REPORT_EVERY = 10.0  # seconds between two lines while compiling


class FoundModule(NamedTuple):
    """A compiled module in MAX's format, and the code (as in ``Target.codes``) that it was made for."""

    module: bytes
    code: str


def find_module(
    dims: ModelDimensions, storage: DType, target: Target, report: Report, bundle: Path | None = None
) -> FoundModule:
    """The compiled module for a model on a target.

    Args:
        dims: the model's.
        storage: of the matrices of linear layers.
        target: where it will run.
        report: called with a line for people before and while something slow happens.
        bundle: the only folder to look in, and nothing is compiled; None for the places above.

    Raises:
        ArtifactError: a folder of the user's is not there, an artifact outside the cache is damaged, the bundle has
            none that fits, compiling failed, or the result can't be kept.
    """
    keys = [artifact_key(dims, target.dtype, storage, code) for code in target.codes]
    if bundle is not None:
        return _in_bundle(bundle, keys)
    cache = cache_folder()
    own = own_folders()
    for folder in (*own, cache, SHIPPED):
        for key in keys:
            found = _read_cached(cache / key.file_name, report) if folder == cache else _read(folder / key.file_name)
            if found is not None:
                return FoundModule(found, key.code)
    for folder in own:
        report(f"{folder}: no artifact for this model, this processor and this version of whisper_max and MAX")
    key = artifact_key(dims, target.dtype, storage, target.code)
    path = cache / key.file_name
    with _locked(path.with_suffix(".lock"), report):
        module = _read_cached(path, report)  # another process may have made it while we waited
        if module is None:
            module = compile_artifact(key, report)
            write_artifact(path, module)
    return FoundModule(module, key.code)


def cache_folder() -> Path:
    """Where artifacts are kept that were compiled on this machine."""
    return cache_dir() / "artifacts"


def own_folders() -> list[Path]:
    """The folders that ``$WHISPER_MAX_ARTIFACTS`` lists.

    Raises:
        ArtifactError: one of them is not there.
    """
    folders = [Path(part).expanduser() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise ArtifactError("no such folder", where=folder, hint=f"correct {FOLDERS}")
    return folders


def _in_bundle(folder: Path, keys: list[ArtifactKey]) -> FoundModule:
    for key in keys:
        module = _read(folder / key.file_name)
        if module is not None:
            return FoundModule(module, key.code)
    raise ArtifactError("no compiled graphs for this model and processor", where=folder, expected=keys[-1].file_name)


def _read(path: Path) -> bytes | None:
    """A whole artifact, or None where there is none."""
    return read_artifact(path) if path.exists() else None


def _read_cached(path: Path, report: Report) -> bytes | None:
    """A whole artifact from the cache; one that is damaged is removed."""
    try:
        return _read(path)
    except ArtifactError as error:
        report(f"{error}; removing it")
        path.unlink(missing_ok=True)
        return None


def compile_artifact(key: ArtifactKey, report: Report) -> bytes:
    """Compile a module, saying so before and every few seconds.

    Raises:
        ArtifactError: no compiler is installed, or it failed.
    """
    dims = key.dims
    kinds = " on ".join(dict.fromkeys([key.dtype.name, key.storage.name]))
    what = f"{dims.n_audio_layer}+{dims.n_text_layer} blocks of width {dims.n_text_state}, {kinds}"
    report(f"compiling this model ({what}) for {key.code}: happens once, takes {TYPICAL_MINUTES}")
    with _reporting(report):
        return compile_module(dims, key.dtype, key.storage, key.code)


@contextmanager
def _reporting(report: Report) -> Iterator[None]:
    """Say now and then that it is still going on."""
    done = threading.Event()
    start = time.monotonic()

    def tick() -> None:
        while not done.wait(_REPORT_EVERY):
            report(f"still compiling, {time.monotonic() - start:.0f} s so far")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Hold a file lock, so that of several processes one compiles and the others wait for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        hint = "set WHISPER_MAX_CACHE to a folder that can be written"
        raise ArtifactError("the cache can't be written", where=path.parent, found=error.strerror, hint=hint) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is compiling this model; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
