"""An engine that encodes each window once, for tests that transcribe the same recording in several ways."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.api import Model


class EncodesOnce:
    """All of an engine, but what was encoded before is remembered: features that nobody writes to."""

    def __init__(self, inference: Any) -> None:
        self._inference = inference
        self._encoded: dict[bytes, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inference, name)

    def encode(self, mel: NDArray[np.float32]) -> Any:
        key = sha256(mel.tobytes()).digest()
        if key not in self._encoded:
            self._encoded[key] = self._inference.encode(mel)
        return self._encoded[key]


def encoding_once(model: Model) -> Model:
    """A model with such an engine."""
    return replace(model, inference=EncodesOnce(model.inference))
