"""The forms in which a size's graphs lie compiled in a folder."""

from __future__ import annotations

import re
from pathlib import Path

from max.dtype import DType

from whisper_max.compile.artifact import ArtifactKey, artifact_key
from whisper_max.dims import ModelDimensions
from whisper_max.errors import DeviceError
from whisper_max.model.digest import FAST

DTYPES = (DType.bfloat16, DType.float32, DType.float16)
_GPU = re.compile(r"-gpu-(sm_\w+?)(?:-fast)?-[0-9a-f]{16}\.wmx")


def keys_of(dims: ModelDimensions, architecture: str, folder: Path) -> list[ArtifactKey]:
    """The artifacts of a size for a GPU that are in a folder and of this very source: bfloat16 and fast ones first."""
    return [key for key in all_keys(dims, architecture, folder) if (folder / key.file_name).exists()]


def all_keys(dims: ModelDimensions, architecture: str, folder: Path) -> list[ArtifactKey]:
    """The same, there or not; folder: may list the digests of graphs, which saves building them."""
    codes = [code_of(architecture, form) for form in (FAST, "plain")]
    return [artifact_key(dims, dtype, dtype, code, [folder]) for dtype in DTYPES for code in codes]


def code_of(architecture: str, form: str) -> str:
    """The code of an artifact. form: "fast" or "plain"."""
    return f"gpu:{architecture}:{FAST}" if form == FAST else f"gpu:{architecture}"


def form_of(code: str) -> str:
    """ "fast" or "plain"."""
    return FAST if code.endswith(f":{FAST}") else "plain"


def architectures(folder: Path) -> set[str]:
    """The GPUs that the artifacts in a folder are for: ``{"sm_90a"}``."""
    return {found[1] for path in folder.glob("*.wmx") if (found := _GPU.search(path.name)) is not None}


def fitting(found: str, packed: set[str]) -> str:
    """Which of the packed architectures a GPU runs: its own, or one of the same number (sm_90a on sm_90).

    Raises:
        DeviceError: none.
    """
    number = re.sub(r"\D", "", found)
    for name in sorted(packed):
        if re.sub(r"\D", "", name) == number:
            return name
    raise DeviceError(
        "no artifacts for this GPU",
        where="the kit",
        expected=found,
        found=", ".join(sorted(packed)) or "none",
        hint=f"compile by gpu_artifacts.py --architecture {found}, pack and send again",
    )
