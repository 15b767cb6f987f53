"""Whether this machine's GPU can be used, and what it has been shown to compute rightly.

``scripts/gpu/gpu_gate.py`` checks a GPU and leaves a record of it in the cache folder. A record counts for one kind of
GPU, one version of MAX and one state of a GPU's graphs: after any change of them a GPU counts as unchecked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from max.driver import Accelerator, Device, accelerator_architecture_name, accelerator_count
from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.errors import ArtifactError, DeviceError
from whisper_max.files.cache import cache_dir
from whisper_max.model.digest import FAST, Graphs, remembered

Report = Callable[[str], object]
CHECKED_SIZES = ("tiny", "large-v3")
"""The narrowest and the widest: graphs that differ for others differ for these."""
CHECKED_DTYPES = (DType.bfloat16, DType.float16, DType.float32)
DRIVER = Path("/proc/driver/nvidia/version")
CHECK = "run `python scripts/gpu/gpu_gate.py`"
USE_CPU = "use --device cpu"


@dataclass(frozen=True)
class GpuRecord:
    """What a check found, by dtype of activations.

    plain, fast: dtypes in which the graphs of that form, whole models included, are right. tokens: choosing tokens on
    the device gives the host's.
    """

    plain: tuple[str, ...]
    fast: tuple[str, ...]
    tokens: bool


@dataclass(frozen=True)
class Gpu:
    """A GPU that graphs run on.

    codes: of the artifacts that it runs, the best first. record: of its check, None where it was not checked.
    """

    device: Device
    codes: tuple[str, ...]
    record: GpuRecord | None


def find_gpu(index: int, dtype: DType) -> Gpu:
    """A GPU by number.

    Raises:
        DeviceError: it is not there, or can't be used; the message says why.
    """
    n_gpus = accelerator_count()
    if index >= n_gpus:
        raise DeviceError("no such GPU", where=f"gpu:{index}", found=_what_is_there(n_gpus), hint=USE_CPU)
    try:
        device = Accelerator(index)
        usable = device.is_compatible
    except (RuntimeError, ValueError) as error:
        raise DeviceError("the GPU can't be used", where=f"gpu:{index}", found=error, hint=USE_CPU) from error
    if not usable:
        raise DeviceError("MAX doesn't support this GPU", where=f"gpu:{index}", found=device.label, hint=USE_CPU)
    architecture = accelerator_architecture_name()
    record = read_record(architecture)
    plain = f"gpu:{architecture}"
    checked_fast = record is not None and dtype.name in record.fast
    return Gpu(device, (f"{plain}:{FAST}", plain) if checked_fast else (plain,), record)


def find_checked_gpu(dtype: DType, report: Report) -> Gpu | None:
    """The first GPU, where a check found it right in this dtype; else None, with a line that says why not.

    A machine without any NVIDIA driver says nothing: it has nothing to explain.
    """
    if accelerator_count() == 0:
        if DRIVER.exists():
            report(f"MAX finds no GPU ({_what_is_there(0)}); using the CPU")
        return None
    try:
        gpu = find_gpu(0, dtype)
    except DeviceError as error:
        report(f"{error}; using the CPU".replace(f"; {USE_CPU}", ""))
        return None
    if gpu.record is None:
        report(f"there is a GPU, not yet checked with this version; using the CPU ({CHECK} to use the GPU)")
        return None
    if dtype.name not in (*gpu.record.plain, *gpu.record.fast):
        report(f"this GPU failed its check in {dtype.name}; using the CPU")
        return None
    return gpu


def _what_is_there(n_gpus: int) -> str:
    """What a machine has, for people; of a driver that shows no GPU its version, for it may be too old."""
    if n_gpus or not DRIVER.exists():
        return f"{n_gpus} on this machine"
    lines = DRIVER.read_text(errors="replace").splitlines()
    return f"none that MAX can use, under {lines[0].strip() if lines else 'an NVIDIA driver'}"


def gpu_graphs() -> list[Graphs]:
    """What a record is about: one block on each side, in every dtype and form."""
    sizes = [replace(MODELS[size].dims, n_audio_layer=1, n_text_layer=1) for size in CHECKED_SIZES]
    return [
        Graphs(dims, dtype, dtype, "gpu", fast) for dims in sizes for dtype in CHECKED_DTYPES for fast in (True, False)
    ]


def _digest() -> str:
    digests = [graphs.build() for graphs in gpu_graphs()]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def record_path(architecture: str) -> Path:
    """Where the record of a kind of GPU is; the first time after a change of any graph it takes seconds to know."""
    digest = remembered("a GPU's record", _digest)
    return cache_dir() / "gpu" / f"{architecture}-max{version('max-core')}-{digest[:16]}.json"


def read_record(architecture: str) -> GpuRecord | None:
    """The record of a kind of GPU, with this MAX and these graphs; None where there is none that can be read."""
    if not any((cache_dir() / "gpu").glob(f"{architecture}-*.json")):
        return None
    try:
        found = json.loads(record_path(architecture).read_text(encoding="utf-8"))
        return GpuRecord(tuple(found["plain"]), tuple(found["fast"]), bool(found["tokens"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(architecture: str, record: GpuRecord) -> Path:
    """Keep a record; returns its file.

    Raises:
        ArtifactError: it can't be written.
    """
    path = record_path(architecture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        hint = "set WHISPER_MAX_CACHE to a folder that can be written"
        raise ArtifactError("can't be written", where=path, found=error.strerror, hint=hint) from error
    return path
