"""What tests share: where the reference and the recordings are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from whisper_max.verify import Reference

# How long an example takes says nothing here: machines are shared, and first calls read files. Where a change is judged
# (services of continuous integration set CI) the same tests must give the same answer each time, so the examples are
# always the same there; new ones are searched for everywhere else, and those that fail are kept as @example.
settings.register_profile("whisper_max", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("whisper_max_ci", settings.get_profile("whisper_max"), derandomize=True, print_blob=True)
settings.load_profile("whisper_max_ci" if os.environ.get("CI") else "whisper_max")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """The folder with a folder of stages and golden transcriptions for each model."""
    return REPOSITORY / "tests" / "reference"


@pytest.fixture(scope="session")
def reference(reference_folder: Path) -> Callable[[str], Reference]:
    """The stages of a model by name: ``reference("tiny.en")``."""
    from whisper_max.verify import read_reference

    return lambda model: read_reference(reference_folder / model)


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
