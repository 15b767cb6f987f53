"""What compiled graphs are made for: processors by name, and what this machine's is.

A code names one: "cpu:x86-64-v3", "cpu:native-x86_64-1a2b3c4d" (one machine's processor, by its features) or
"gpu:sm_90a".
"""

from __future__ import annotations

import hashlib
import platform
import re
from pathlib import Path

from whisper_max.errors import OptionError

_V3_FLAGS = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})
_V4_FLAGS = _V3_FLAGS | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V8_FLAGS = frozenset({"fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32"})
_N1_FLAGS = _V8_FLAGS | {"atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp"}
PORTABLE_CPUS = {"x86-64-v4": _V4_FLAGS, "x86-64-v3": _V3_FLAGS, "neoverse-n1": _N1_FLAGS}
"""Processors that artifacts are made for, and the features, as Linux names them, that they ask for; the best first.
x86-64-v3 and v4 are levels of the x86-64 psABI: v3 is what most machines since 2013 have (AVX2 and FMA), v4 adds
AVX-512. neoverse-n1 is Armv8.2 with dot products and half precision: Arm servers since 2019."""

_NATIVE = "native"
_GPU = re.compile(r"(?:cuda|gpu):(sm_[1-9]\d{1,2}[af]?)|(?:hip|gpu):(gfx[1-9][0-9a-f]{2,3})")
TARGETS = (*(f"cpu:{name}" for name in PORTABLE_CPUS), "cpu:native", "cuda:sm_80", "cuda:sm_90a", "hip:gfx942")
"""Examples of what ``target_code`` takes; any "cuda:sm_N" and "hip:gfxN" is taken."""


def target_code(name: str) -> str:
    """The code for a target that the user names.

    Args:
        name: "cpu:" and a key of ``PORTABLE_CPUS``, "cpu:native" for this machine's processor, "cuda:sm_90a" or
            "hip:gfx942".

    Raises:
        OptionError: no such target.
    """
    gpu = _GPU.fullmatch(name)
    if gpu is not None:
        return f"gpu:{gpu[1] or gpu[2]}"
    kind, _, processor = name.partition(":")
    if kind == "cpu" and processor == _NATIVE:
        return _native_code()
    if kind == "cpu" and processor in PORTABLE_CPUS:
        return name
    raise OptionError("unknown target", where=name, expected=f"{', '.join(TARGETS)} or another cuda:sm_N or hip:gfxN")


def cpu_codes() -> tuple[str, ...]:
    """The codes that run on this machine's processor, the best first: its own, then the portable ones."""
    flags = cpu_flags()
    portable = (f"cpu:{name}" for name, needed in PORTABLE_CPUS.items() if flags >= needed)
    return (_native_code(), *portable)


def missing_features(code: str) -> list[str]:
    """The features of a portable processor that this machine's lacks, as Linux names them."""
    return sorted(PORTABLE_CPUS.get(code.removeprefix("cpu:"), frozenset()) - cpu_flags())


def compiler_target(name: str) -> str:
    """What MAX's compiler is told to make code for a portable processor: its name, with the family where it differs.

    MAX documents names alone. With one of another family its compiler ends the process, unless it is told the family.
    """
    if name in PORTABLE_CPUS and not name.startswith("x86-64") and platform.machine() == "x86_64":
        return f"triple=aarch64-unknown-linux-gnu;cpu={name}"
    return name


def other_family(code: str) -> str | None:
    """The machine that must compile portable code for a CPU, as ``platform.machine()`` has it, where this one can't.

    Code for Arm comes from x86-64 machines too; the other way has not been tried.
    """
    name = code.removeprefix("cpu:")
    x86 = name in PORTABLE_CPUS and name.startswith("x86-64")
    return "x86_64" if x86 and platform.machine() != "x86_64" else None


def is_native(code: str) -> bool:
    """True for code that was made for one machine's own processor."""
    return code.startswith(f"cpu:{_NATIVE}-")


def vnni() -> int:
    """Which int8 dot products the processor has, as the kernels are told: 1 for AVX512-VNNI, plus 2 for AVX-VNNI."""
    flags = cpu_flags()
    return ("avx512_vnni" in flags) + 2 * ("avx_vnni" in flags)


def cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them: "flags" on x86, "Features" on Arm; none where it doesn't say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    listed = (values for name, _, values in lines if name.strip() in ("flags", "Features"))
    return frozenset(next(listed, "").split())


def _native_code() -> str:
    digest = hashlib.sha256(" ".join(sorted(cpu_flags())).encode()).hexdigest()[:8]
    return f"cpu:{_NATIVE}-{platform.machine()}-{digest}"
