"""Where a model runs and in which number format: from what the user asks to what this machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from max.driver import CPU, Device
from max.dtype import DType

from whisper_max.errors import OptionError
from whisper_max.hardware.gpu_record import find_checked_gpu, find_gpu
from whisper_max.hardware.processors import cpu_codes, is_native
from whisper_max.hardware.threads import start_workers

_COMPUTE_TYPES: dict[str, dict[str, tuple[DType, DType | None]]] = {
    "cpu": {"float32": (DType.float32, None), "int8": (DType.float32, DType.int8)},
    "gpu": {
        "bfloat16": (DType.bfloat16, DType.bfloat16),
        "float16": (DType.float16, DType.float16),
        "float32": (DType.float32, DType.float32),
    },
}
"""Compute type -> dtype of activations, and of the matrices of linear layers; the first one is "auto"."""


@dataclass(frozen=True)
class Target:
    """A device, a compute dtype, and the machine code they need.

    dtype: of activations. storage: of the matrices of linear layers; None leaves it to the checkpoint: float16 where
    that is exact, else float32.
    codes: what compiled artifacts this device runs, the best first; see ``processors``.
    tokens: whether a GPU may choose tokens; False where a check found its choices wrong.
    """

    device: Device
    dtype: DType
    storage: DType | None
    codes: tuple[str, ...]
    tokens: bool = True

    @property
    def code(self) -> str:
        """What to compile for where there is no artifact: a portable processor if there is one, "cpu:x86-64-v3"."""
        return next((code for code in self.codes if not is_native(code)), self.codes[0])

    @property
    def is_cpu(self) -> bool:
        """True where graphs run on the host."""
        return self.code.startswith("cpu:")


def select_target(
    device: str = "auto",
    compute_type: str = "auto",
    threads: int | None = None,
    report: Callable[[str], object] | None = None,
) -> Target:
    """The target for what the user asked.

    Args:
        device: "auto" (a GPU that a check found right, see ``gpu_support``), "cpu", "gpu" (or "cuda"), "gpu:1"...
        compute_type: "auto" (float32 on a CPU, bfloat16 on a GPU), "float32", "int8" (CPU: linear layers in integers),
            "float16" or "bfloat16" (GPU).
        threads: that run graphs on a CPU; see ``start_workers``.
        report: called with a line where "auto" passes over a GPU.

    Raises:
        DeviceError: a GPU was asked for and is not there, or can't be used.
        OptionError: no such device, a compute type that the device doesn't offer, or a number of threads that can't
            be had.
    """
    start_workers(threads)
    kind, _, number = device.lower().replace("cuda", "gpu").partition(":")
    if kind not in ("auto", "cpu", "gpu") or (number and (kind != "gpu" or not number.isdecimal())):
        raise OptionError("unknown device", where="device", expected="auto, cpu, gpu or gpu:N", found=device)
    gpu = None
    if kind == "gpu":
        gpu = find_gpu(int(number or 0), dtypes("gpu", compute_type)[0])
    elif kind == "auto" and (compute_type == "auto" or compute_type in _COMPUTE_TYPES["gpu"]):
        gpu = find_checked_gpu(dtypes("gpu", compute_type)[0], report or (lambda line: None))
    if gpu is None:
        return Target(CPU(), *dtypes("cpu", compute_type), cpu_codes())
    tokens = gpu.record is None or gpu.record.tokens
    return Target(gpu.device, *dtypes("gpu", compute_type), gpu.codes, tokens)


def dtypes(kind: str, compute_type: str) -> tuple[DType, DType | None]:
    """The dtypes of activations and of matrices (as in ``Target``) that a compute type means.

    Args:
        kind: "cpu" or "gpu".
        compute_type: "auto" or one that the kind of device offers.

    Raises:
        OptionError: the kind of device doesn't offer it.
    """
    offered = _COMPUTE_TYPES[kind]
    name = next(iter(offered)) if compute_type == "auto" else compute_type
    if name not in offered:
        raise OptionError(
            f"not available on a {kind.upper()}",
            where="compute_type",
            expected=", ".join(["auto", *offered]),
            found=compute_type,
        )
    return offered[name]
