"""Finding the artifact of a model: shipped with the package, in the cache, or compiled now and kept there."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from max.dtype import DType

from whisper_max.cache import cache_dir
from whisper_max.dims import ModelDimensions
from whisper_max.engine.artifact import SHIPPED, ArtifactKey, artifact_key, read_artifact, write_artifact
from whisper_max.engine.compiler import compile_module
from whisper_max.errors import ArtifactError

Report = Callable[[str], object]
TYPICAL_MINUTES = "2 to 5 minutes"
_REPORT_EVERY = 10.0  # seconds between two lines while compiling


def find_module(dims: ModelDimensions, dtype: DType, storage: DType, code: str, report: Report) -> bytes:
    """The compiled module for a model on a target.

    Args:
        report: called with a line for people before and while something slow happens.

    Raises:
        ArtifactError: compiling failed, or the result can't be kept.
    """
    key = artifact_key(dims, dtype, storage, code)
    shipped = SHIPPED / key.file_name
    if shipped.exists():
        return read_artifact(shipped)
    path = cache_dir() / "artifacts" / key.file_name
    module = _read_cached(path, report)
    if module is not None:
        return module
    with _locked(path.with_suffix(".lock"), report):
        module = _read_cached(path, report)  # another process may have made it while we waited
        if module is None:
            module = _compile(key, report)
            write_artifact(path, module)
    return module


def _read_cached(path: Path, report: Report) -> bytes | None:
    """A whole artifact from the cache; one that is damaged is removed."""
    if not path.exists():
        return None
    try:
        return read_artifact(path)
    except ArtifactError as error:
        report(f"{error}; removing it and compiling again")
        path.unlink(missing_ok=True)
        return None


def _compile(key: ArtifactKey, report: Report) -> bytes:
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
