"""Keys and values of the audio as bytes, written by NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.model.panels import GROUP, PANEL, SCALE_BYTES


def packed(side: NDArray[np.float32], *, keys: bool) -> NDArray[np.int8]:
    """Keys or values in the order of ``kernels/int8_audio.mojo``.

    side: (B, H, n_audio, hd) float32 -> (B, H, n_padded, hd + 4).
    """
    *heads, n_audio, head_dim = side.shape
    n_padded = -(-n_audio // PANEL) * PANEL
    rows = np.zeros((*heads, n_padded, head_dim), np.float32)
    rows[..., :n_audio, :] = side
    peaks = np.abs(rows).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), peaks, out=np.zeros_like(peaks), where=peaks > 0)
    steps = np.rint(rows.astype(np.float64) * inverse).astype(np.int8)
    if keys:
        panels = (steps ^ np.int8(-128)).reshape(*heads, n_padded // PANEL, PANEL, head_dim // GROUP, GROUP)
        steps = np.moveaxis(panels, -3, -2)
    scales = np.ascontiguousarray(peaks[..., 0] / np.float32(127)).view(np.int8)
    flat = [np.ascontiguousarray(part).reshape(*heads, -1) for part in (steps, scales)]
    return np.concatenate(flat, axis=-1).reshape(*heads, n_padded, head_dim + SCALE_BYTES)
