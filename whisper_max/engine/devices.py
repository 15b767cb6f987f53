"""Where a model runs and in which number format: from what the user asks to what this machine has."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from max.driver import CPU, Accelerator, Device, accelerator_architecture_name, accelerator_count
from max.dtype import DType

from whisper_max.errors import DeviceError, OptionError

PORTABLE_CPU = "x86-64-v3"
"""What most x86 machines since 2013 have: AVX2 and FMA. Artifacts for it ship with the package."""

_PORTABLE_CPU_FLAGS = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
_COMPUTE_TYPES = {
    "cpu": {"float32": DType.float32},
    "gpu": {"bfloat16": DType.bfloat16, "float16": DType.float16, "float32": DType.float32},
}


@dataclass(frozen=True)
class Target:
    """A device, a compute dtype, and the machine code they need.

    code: "cpu:x86-64-v3", "cpu:native-..." or "gpu:sm_90a": what a compiled artifact is made for.
    """

    device: Device
    dtype: DType
    code: str

    @property
    def is_cpu(self) -> bool:
        """True where graphs run on the host."""
        return self.code.startswith("cpu:")


def select_target(device: str = "auto", compute_type: str = "auto") -> Target:
    """The target for what the user asked.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "gpu" (or "cuda"), "gpu:1"...
        compute_type: "auto" (float32 on a CPU, bfloat16 on a GPU), or the name of a dtype.

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
        return Target(CPU(), _dtype("cpu", compute_type, "float32"), f"cpu:{_cpu_code()}")
    index = int(number or 0)
    if index >= n_gpus:
        raise DeviceError("no such GPU", where=device, found=f"{n_gpus} on this machine", hint="use --device cpu")
    code = f"gpu:{accelerator_architecture_name()}"
    return Target(Accelerator(index), _dtype("gpu", compute_type, "bfloat16"), code)


def _dtype(kind: str, compute_type: str, default: str) -> DType:
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
    """``PORTABLE_CPU`` where this processor can run it, else this very processor."""
    if _cpu_flags() >= _PORTABLE_CPU_FLAGS:
        return PORTABLE_CPU
    return f"native-{platform.machine()}"


def _cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them; none where it doesn't say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return next((frozenset(flags.split()) for name, _, flags in lines if name.strip() == "flags"), frozenset())
