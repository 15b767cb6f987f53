"""What tests share: where the reference and the recordings are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# How long an example takes says nothing here: machines are shared, and first calls read files.
settings.register_profile("whisper_max", deadline=None)
settings.load_profile("whisper_max")

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Reference:
    """openai-whisper's stages of one model (tests/reference/README.md says how they were made).

    manifest: ``manifest.json``. arrays: the stored samples of each stage, flat float32.
    """

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def whole(self, stage: str) -> np.ndarray:
        """A stage that was stored whole, in its own shape."""
        entry = self.manifest["stages"][stage]
        if entry["stride"] != 1:
            raise ValueError(f"{stage} is stored with stride {entry['stride']}")
        return self.arrays[stage].reshape(entry["shape"])

    def tolerance(self, stage: str) -> float:
        return self.manifest["stages"][stage]["tolerance"]

    def error(self, stage: str, ours: np.ndarray) -> float:
        """How far ``ours`` (the whole tensor, with or without the batch of 1) is from the reference."""
        entry = self.manifest["stages"][stage]
        shape = tuple(entry["shape"])
        if ours.shape not in (shape, shape[1:] if shape[0] == 1 else shape):
            raise ValueError(f"{stage}: expected shape {shape}, found {ours.shape}")
        theirs = self.arrays[stage].astype(np.float64)
        difference = ours.reshape(-1)[:: entry["stride"]].astype(np.float64) - theirs
        if entry["error"] == "absolute":
            return float(np.abs(difference).max())
        return float(np.linalg.norm(difference) / np.linalg.norm(theirs))


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """The folder with a folder of stages and golden transcriptions for each model."""
    return REPOSITORY / "tests" / "reference"


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Callable[[str], Reference]:
    """The stages of a model by name: ``reference("tiny.en")``."""

    def load(model: str) -> Reference:
        folder = reference_folder / model
        with np.load(folder / "stages.npz") as arrays:
            return Reference(json.loads((folder / "manifest.json").read_text()), dict(arrays))

    return load


@pytest.fixture(scope="session")
def golden(reference_folder: Path) -> Callable[[str, str], dict[str, Any]]:
    """A golden set: ``golden("base", "greedy")["clips"]`` maps each clip's path to its transcript."""

    def load(model: str, name: str) -> dict[str, Any]:
        return json.loads((reference_folder / model / f"golden_{name}.json").read_text(encoding="utf-8"))

    return load


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of the recordings that the golden sets were made from; they are not part of this repository."""
    folder = REPOSITORY.parent / "shared" / "audio"
    if not folder.is_dir():
        pytest.skip("the collection of recordings is not on this machine")
    return folder
