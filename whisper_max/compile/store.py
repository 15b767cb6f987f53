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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from max.dtype import DType

from whisper_max.compile.artifact import SHIPPED, ArtifactKey, artifact_key, read_artifact, write_artifact
from whisper_max.compile.compiler import check_compiler, compile_module
from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.files.cache import cache_dir
from whisper_max.hardware.target import Target

Report = Callable[[str], object]
FOLDERS = "WHISPER_MAX_ARTIFACTS"
"""The environment variable that lists the user's folders of artifacts, separated like those in ``PATH``."""
TYPICAL_MINUTES = "1 to 3 minutes"
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
            none that fits, or compiling failed. A result that can't be kept is used without.
    """
    own = own_folders() if bundle is None else []
    lists = [*own, SHIPPED] if bundle is None else [bundle]
    keys = [artifact_key(dims, target.dtype, storage, code, lists) for code in target.codes]
    if bundle is not None:
        return _in_bundle(bundle, keys)
    key = next(key for key in keys if key.code == target.code)
    codes = {key.file_name: key.code for key in keys}
    return find_artifact(codes, key.file_name, partial(compile_artifact, key), report)


def find_artifact(
    codes: Mapping[str, str], wanted: str, compile_wanted: Callable[[Report], bytes], report: Report
) -> FoundModule:
    """The compiled module in the first of the places above that has one, or made now.

    Args:
        codes: the names of files that would do, the best first, and the code that each was made for.
        wanted: the one that is made where there is none.
        compile_wanted: makes it.
        report: called with a line for people before and while something slow happens.

    Raises:
        ArtifactError: as ``find_module``.
    """
    own, cache = own_folders(), cache_folder()
    for folder in (*own, cache, SHIPPED):
        for name, code in codes.items():
            found = _read_cached(cache / name, report) if folder == cache else _read(folder / name)
            if found is not None:
                return FoundModule(found, code)
    for folder in own:
        report(f"{folder}: no artifact for this model, this processor and this version of whisper_max and MAX")
    path = cache / wanted
    with _locked(path.with_suffix(".lock"), report):
        module = _read_cached(path, report)  # another process may have made it while we waited
        if module is None:
            module = compile_wanted(report)
            _keep(path, module, report)
    return FoundModule(module, codes[wanted])


def cache_folder() -> Path:
    """Where artifacts are kept that were compiled on this machine."""
    return cache_dir() / "artifacts"


def own_folders() -> list[Path]:
    """The folders that ``$WHISPER_MAX_ARTIFACTS`` lists.

    Raises:
        ArtifactError: one of them is not there.
    """
    folders = [Path(os.path.expanduser(part)) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
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
    """A whole artifact, or None where there is none, or none that may be looked for."""
    return read_artifact(path) if os.path.exists(path) else None


def _read_cached(path: Path, report: Report) -> bytes | None:
    """A whole artifact from the cache; one that is damaged is removed."""
    try:
        return _read(path)
    except ArtifactError as error:
        report(f"{error}; removing it")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None


def _keep(path: Path, module: bytes, report: Report) -> None:
    """Write a module into the cache; where that fails, as on a full disk, the next process compiles it again."""
    try:
        write_artifact(path, module)
    except ArtifactError as error:
        report(f"compiled graphs can't be kept, and are made again next time: {error}")


def compile_artifact(key: ArtifactKey, report: Report) -> bytes:
    """Compile a module, saying so before and every few seconds.

    Raises:
        ArtifactError: no compiler is installed, or none for such processors, or it failed.
    """
    check_compiler(key.code)
    dims = key.dims
    kinds = " on ".join(dict.fromkeys([key.dtype.name, key.storage.name]))
    what = f"{dims.n_audio_layer}+{dims.n_text_layer} blocks of width {dims.n_text_state}, {kinds}"
    report(f"compiling this model ({what}) for {key.code}: happens once, takes {TYPICAL_MINUTES}")
    with reporting(report):
        return compile_module(dims, key.dtype, key.storage, key.code)


@contextmanager
def reporting(report: Report) -> Iterator[None]:
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
    """Hold a file lock, so that of several processes one compiles and the others wait for it.

    Where there can be no such file, as in a cache that can't be written, each compiles for itself.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _lock(stack.enter_context(path.open("w")), report)
        except OSError:
            stack.close()
        yield


def _lock(file: IO[str], report: Report) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report("another process is compiling this model; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
