"""The samples that the stored references were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_max.audio.io import load_audio

_BY_LIBSNDFILE = (".ogg", ".mp3")
"""What the references were made of by libsndfile's decoders; the package reads these by FFmpeg's, as its peers do."""


def reference_samples(path: Path) -> NDArray[np.float32]:
    """(n_samples,) float32 at 16 kHz, as openai-whisper was given them when the references were made."""
    if path.suffix not in _BY_LIBSNDFILE:
        return load_audio(path)
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return load_audio(samples, sampling_rate=rate)
