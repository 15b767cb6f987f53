"""The mel filters, which openai-whisper keeps in a file: from the bins of a Fourier transform to mel bins."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whisper_max.dims import SAMPLE_RATE

N_FFT = 400  # samples per frame, 25 ms
N_FREQS = N_FFT // 2 + 1  # 201 bins, 40 Hz apart


@lru_cache(maxsize=4)
def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Slaney-normalised triangular filters, librosa's ``filters.mel(sr=16000, n_fft=400)``.

    Args:
        n_mels: number of filters.

    Returns:
        (n_mels, 201) float32, read-only.
    """
    mels = np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2)
    corners = _mel_to_hz(mels)  # (n_mels + 2,) Hz: left foot, peak, right foot of each triangle
    freqs = np.linspace(0.0, SAMPLE_RATE / 2, N_FREQS)
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (freqs - left) / (peak - left)
    falling = (right - freqs) / (right - peak)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: NDArray[np.float32] = (triangles * 2.0 / (right - left)).astype(np.float32)  # equal area, Slaney
    filters.flags.writeable = False
    return filters


# Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, then 27 steps per factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ / _HZ_PER_MEL  # 15
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _HZ_PER_MEL
    return float(_LOG_START_MEL + np.log(hz / _LOG_START_HZ) / _LOG_STEP)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mels * _HZ_PER_MEL
    logarithmic = _LOG_START_HZ * np.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    return np.where(mels < _LOG_START_MEL, linear, logarithmic)
