"""The tiers: ways to transcribe one recording, from the reference to the fastest here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_max.errors import OptionError

REFERENCE_CPU, REFERENCE_GPU = "reference-cpu", "reference-gpu"


@dataclass(frozen=True)
class Tier:
    """One way. about: what it is, in words. reference: it is openai-whisper. batch_size: pieces decoded together."""

    name: str
    about: str
    device: str
    compute_type: str = "auto"
    batch_size: int = 1
    reference: bool = False


def tiers(batch_size: int) -> dict[str, Tier]:
    """All tiers by name, in the order that they run in: what the others are compared with comes first.

    Args:
        batch_size: of those that decode in batches.
    """
    batches = f"pieces in batches of {batch_size}"
    all_of_them = (
        Tier(REFERENCE_CPU, "openai-whisper, CPU, float32", "cpu", reference=True),
        Tier(REFERENCE_GPU, "openai-whisper, GPU, float16", "cuda", reference=True),
        Tier("float32", "CPU, float32", "cpu", "float32"),
        Tier("int8", "CPU, int8", "cpu", "int8"),
        Tier("float32-batch", f"CPU, float32, {batches}", "cpu", "float32", batch_size),
        Tier("int8-batch", f"CPU, int8, {batches}", "cpu", "int8", batch_size),
        Tier("gpu", "GPU", "gpu"),
        Tier("gpu-batch", f"GPU, {batches}", "gpu", "auto", batch_size),
    )
    return {tier.name: tier for tier in all_of_them}


def interpreter(environment: str) -> Path:
    """The interpreter of a virtual environment, or the interpreter itself.

    Raises:
        OptionError: neither.
    """
    path = Path(os.path.expanduser(environment))
    found = path / "bin" / "python" if path.is_dir() else path
    if not (found.is_file() and os.access(found, os.X_OK)):
        raise OptionError(
            "no environment", where="reference", expected="the folder of an environment, or its Python", found=path
        )
    return found


_PROBE = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('torch') and u.find_spec('whisper') else 3)"
_PATIENCE = 60.0  # seconds for an interpreter to start


def with_reference(interpreters: Sequence[Path]) -> Path | None:
    """The first interpreter that has openai-whisper, or None."""
    for python in interpreters:
        try:
            done = subprocess.run([python, "-c", _PROBE], capture_output=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return python
    return None
