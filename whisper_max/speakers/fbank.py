"""Log-mel features as Kaldi computes them, which CAM++ was trained on; NumPy only.

https://github.com/kaldi-asr/kaldi, ``compute-fbank-feats`` with 80 bins and no dither.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.speakers.shapes import N_MELS, SAMPLE_RATE

Float32 = NDArray[np.float32]
FRAME_LENGTH, FRAME_STEP = 400, 160  # samples: 25 and 10 ms
FFT_LENGTH = 512
PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
_ROWS = 8  # frames in one product: so small that BLAS wakes no threads, as in ``audio.mel``
SMALLEST = np.float32(np.finfo(np.float32).eps)  # of a bin's energy, before the logarithm


def n_fbank_frames(n_samples: int) -> int:
    """Whole frames in so many samples."""
    return max(0, (n_samples - FRAME_LENGTH) // FRAME_STEP + 1)


def fbank(samples: Float32) -> Float32:
    """Features of a stretch of sound. samples: (n_samples,), 16 kHz, up to 1 -> (n_fbank_frames(n_samples), N_MELS)."""
    if len(samples) < FRAME_LENGTH:
        return np.zeros((0, N_MELS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::FRAME_STEP]
    frames = frames - frames.mean(axis=1, keepdims=True)  # (n, FRAME_LENGTH)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)  # of the first sample: itself
    spectrum = np.fft.rfft((frames - np.float32(PRE_EMPHASIS) * before) * _window(), FFT_LENGTH)  # (n, 257)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    filters = _mel_filters()
    energies = np.empty((len(power), N_MELS), np.float32)
    for start in range(0, len(power), _ROWS):
        np.matmul(power[start : start + _ROWS, :-1], filters, out=energies[start : start + _ROWS])
    return np.log(np.maximum(energies, SMALLEST))


@cache
def _window() -> Float32:
    """Kaldi's own window, "povey": a Hann window to the power of 0.85."""
    return ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_LENGTH) / (FRAME_LENGTH - 1))) ** 0.85).astype(np.float32)


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0))


@cache
def _mel_filters() -> Float32:
    """Triangles that overlap by half, even on the mel scale, (FFT_LENGTH // 2, N_MELS)."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE / 2), N_MELS + 2)
    bins = _mel(np.arange(FFT_LENGTH // 2) * SAMPLE_RATE / FFT_LENGTH)[:, None]  # (256, 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
