"""A pytest plugin for the peers' own suites: the adapters under the peers' names, and models that are at hand.

What the tests themselves take from PyTorch, where it is not installed, is a stand-in on NumPy: random arrays, and that
there is no GPU.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import whisper_max
from whisper_max.api import Model
from whisper_max.checkpoint.installed import installed_files
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.compat import install

STAND_INS = {"tiny": "base"}
"""Models that the suites load, and what is loaded in the place of one that is not on this machine."""

_load_model: Any = whisper_max.load_model


def load_at_hand(name: str, **how: Any) -> Model:
    """The model, or its stand-in; a test of one that is not here is skipped."""
    for each in (name, STAND_INS.get(name, "")):
        published = ALIASES.get(each, each)
        if published in MODELS and installed_files(published) is not None:
            model: Model = _load_model(published, **how)
            return model
    pytest.skip(f"the weights of {name} are not on this machine")


def stand_in_for_torch() -> ModuleType:
    """A module ``torch`` with what the suites themselves ask of it."""
    torch = ModuleType("torch")
    random = np.random.default_rng(0)
    torch.__dict__.update(
        randn=lambda *shape: random.standard_normal(shape, np.float32),
        cuda=SimpleNamespace(is_available=lambda: False),
    )
    return torch


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_cuda: needs a GPU of NVIDIA")
    vars(whisper_max)["load_model"] = load_at_hand
    install()
    if importlib.util.find_spec("torch") is None:
        sys.modules["torch"] = stand_in_for_torch()
