"""Where a model runs and in which number format: from what the user asks to what this machine has."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

from max.driver import CPU, Accelerator, Device, accelerator_architecture_name, accelerator_count
from max.dtype import DType

from whisper_max.errors import DeviceError, OptionError

_V3_FLAGS = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
_V4_FLAGS = _V3_FLAGS | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
PORTABLE_CPUS = {"x86-64-v4": _V4_FLAGS, "x86-64-v3": _V3_FLAGS}
"""Levels of the x86-64 psABI and the features, as Linux names them, that they ask for; the best first. Artifacts for
them ship with the package. v3 is what most machines since 2013 have (AVX2 and FMA), v4 adds AVX-512."""

_COMPUTE_TYPES: dict[str, dict[str, tuple[DType, DType | None]]] = {
    "cpu": {"float32": (DType.float32, None), "int8": (DType.float32, DType.int8)},
    "gpu": {
        "bfloat16": (DType.bfloat16, DType.bfloat16),
        "float16": (DType.float16, DType.float16),
        "float32": (DType.float32, DType.float32),
    },
}
"""Compute type -> dtype of activations, and of the matrices of linear layers."""


@dataclass(frozen=True)
class Target:
    """A device, a compute dtype, and the machine code they need.

    dtype: of activations. storage: of the matrices of linear layers; None leaves it to the checkpoint: float16 where
    that is exact, else float32.
    code: "cpu:x86-64-v3", "cpu:native-..." or "gpu:sm_90a": what a compiled artifact is made for.
    """

    device: Device
    dtype: DType
    storage: DType | None
    code: str

    @property
    def is_cpu(self) -> bool:
        """True where graphs run on the host."""
        return self.code.startswith("cpu:")


def select_target(device: str = "auto", compute_type: str = "auto") -> Target:
    """The target for what the user asked.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "gpu" (or "cuda"), "gpu:1"...
        compute_type: "auto" (float32 on a CPU, bfloat16 on a GPU), "float32", "int8" (CPU: linear layers in integers),
            "float16" or "bfloat16" (GPU).

    Raises:
        DeviceError: a GPU was asked for and is not there.
        OptionError: no such device, or a compute type that the device doesn't offer.
    """
    kind, _, number = device.lower().replace("cuda", "gpu").partition(":")
    if kind not in ("auto", "cpu", "gpu") or (number and (kind != "gpu" or not number.isdecimal())):
        raise OptionError("unknown device", where="device", expected="auto, cpu, gpu or gpu:N", found=device)
    n_gpus = accelerator_count()
    if kind == "auto":
        kind = "gpu" if n_gpus else "cpu"
    if kind == "cpu":
        return Target(CPU(), *_dtypes("cpu", compute_type, "float32"), f"cpu:{_cpu_code()}")
    index = int(number or 0)
    if index >= n_gpus:
        raise DeviceError("no such GPU", where=device, found=f"{n_gpus} on this machine", hint="use --device cpu")
    code = f"gpu:{accelerator_architecture_name()}"
    return Target(Accelerator(index), *_dtypes("gpu", compute_type, "bfloat16"), code)


def _dtypes(kind: str, compute_type: str, default: str) -> tuple[DType, DType | None]:
    offered = _COMPUTE_TYPES[kind]
    name = default if compute_type == "auto" else compute_type
    if name not in offered:
        raise OptionError(
            f"not available on a {kind.upper()}",
            where="compute_type",
            expected=", ".join(["auto", *offered]),
            found=compute_type,
        )
    return offered[name]


def _cpu_code() -> str:
    """The best portable level that this processor has, else this very processor, by its features."""
    flags = _cpu_flags()
    for level, needed in PORTABLE_CPUS.items():
        if flags >= needed:
            return level
    digest = hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:8]
    return f"native-{platform.machine()}-{digest}"


def vnni() -> int:
    """Which int8 dot products the processor has, as the kernels are told: 1 for AVX512-VNNI, plus 2 for AVX-VNNI."""
    flags = _cpu_flags()
    return ("avx512_vnni" in flags) + 2 * ("avx_vnni" in flags)


def _cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them: "flags" on x86, "Features" on Arm; none where it doesn't say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    listed = (values for name, _, values in lines if name.strip() in ("flags", "Features"))
    return frozenset(next(listed, "").split())
