"""A model of fake logits behind each door, and what it was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max import api


class SpyModel(api.Model):
    """A model that remembers the options of each call."""

    def transcribe(self, audio: Any, **options: Any) -> Any:
        CALLS.append(options)
        return super().transcribe(audio, **options)

    def transcribe_segments(self, audio: Any, **options: Any) -> Any:
        CALLS.append(options)
        return super().transcribe_segments(audio, **options)


CALLS: list[dict[str, Any]] = []


@pytest.fixture
def calls() -> list[dict[str, Any]]:
    CALLS.clear()
    return CALLS


@pytest.fixture
def native() -> api.Model:
    return SpyModel(FakeInference(DIMS), vocabulary())


@pytest.fixture
def native_english() -> api.Model:
    return SpyModel(FakeInference(ENGLISH_DIMS), vocabulary(english=True))


@pytest.fixture
def noise() -> np.ndarray:
    """70 s of noise: three windows."""
    return np.random.default_rng(3).normal(0, 0.1, 70 * 16000).astype(np.float32)
