"""What to hear a voice by: stretches of a window in which one of its speakers speaks alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.speakers.shapes import FIELD_SAMPLES, FRAME_SAMPLES
from whisper_max.speakers.fbank import FRAME_LENGTH, FRAME_STEP, fbank
from whisper_max.speakers.windows import runs

Float32 = NDArray[np.float32]
LEAST_SECONDS = 0.5
"""Less speech than this says little of a voice."""
MOST_FRAMES = 150
"""Features that a voice is heard by, 1.5 s: with 3 s as many speakers are confused, and it takes twice as long."""
ROUND_FRAMES = 50
"""Features come in multiples of this, so that several voices can be heard together."""


def voice_features(samples: Float32, alone: NDArray[np.bool_]) -> Float32 | None:
    """Features of one speaker of a window, from the longest stretches in which nobody else speaks; None: too little.

    Args:
        samples: of the window.
        alone: where this speaker is alone, (N_FRAMES,).

    Returns:
        (n, N_MELS), n a multiple of ROUND_FRAMES up to MOST_FRAMES, of mean 0.
    """
    parts: list[Float32] = []
    missing = MOST_FRAMES
    for start, stop in sorted(runs(alone), key=lambda run: run[0] - run[1]):
        first, last = sample_range(start, stop)
        most = (missing - 1) * FRAME_STEP + FRAME_LENGTH
        first += max(0, last - first - most) // 2  # the middle of a stretch that is longer
        part = fbank(samples[first : min(last, first + most)])
        parts.append(part)
        missing -= len(part)
        if missing <= 0:
            break
    n_frames = sum(map(len, parts)) // ROUND_FRAMES * ROUND_FRAMES
    if n_frames < LEAST_SECONDS * 100:
        return None
    features = np.concatenate(parts)[:n_frames]
    return np.asarray(features - features.mean(axis=0))


def sample_range(start: int, stop: int) -> tuple[int, int]:
    """The samples of a window that frames [start, stop) stand for."""
    edge = (FIELD_SAMPLES - FRAME_SAMPLES) // 2
    return start * FRAME_SAMPLES + edge, stop * FRAME_SAMPLES + edge
