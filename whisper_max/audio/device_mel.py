"""What the graphs that compute the log-mel spectrogram on a device are given; the rest is in ``graph/log_mel.py``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import HOP_LENGTH, N_FFT, N_FRAMES, hann_window
from whisper_max.audio.waveform import Waveform


@lru_cache(maxsize=1)
def fourier_basis() -> NDArray[np.float32]:
    """The discrete Fourier transform of a frame under the Hann window, as a matrix.

    Returns:
        (400, 402) float32: the cosines of 201 frequencies, then the sines.
    """
    angles = 2 * np.pi / N_FFT * (np.arange(N_FFT)[:, None] * np.arange(N_FFT // 2 + 1)[None] % N_FFT)
    waves = np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
    basis: NDArray[np.float32] = (waves * hann_window()[:, None]).astype(np.float32)
    return basis


def window_samples(waveform: Waveform, seek: int, n_frames: int = N_FRAMES) -> NDArray[np.float32]:
    """The samples that the frames of a window see: from half a frame before it on, silence after the recording's end.

    Args:
        waveform: the recording, of more than 200 samples (mirrored before its start).
        seek: first frame, 10 ms each.
        n_frames: frames of the window.

    Returns:
        ((n_frames + 2) * 160,) float32.
    """
    start = seek * HOP_LENGTH - N_FFT // 2
    samples = np.zeros((n_frames + 2) * HOP_LENGTH, np.float32)
    found = waveform.read(max(start, 0), start + len(samples))
    offset = max(-start, 0)
    samples[offset : offset + len(found)] = found
    if offset:
        samples[:offset] = samples[2 * offset : offset : -1]
    return samples
