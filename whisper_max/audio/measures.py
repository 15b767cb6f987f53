"""How loud a stretch of sound is, and how much of it has a pitch: what tells silence and noise from voices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.waveform import SAMPLE_RATE, Waveform

_QUIETEST = -120.0  # dB that digital silence is taken for
_BLOCK = SAMPLE_RATE // 20
_PITCH_FRAME, _PITCH_HOP = SAMPLE_RATE * 40 // 1000, SAMPLE_RATE * 20 // 1000
_PITCHES = (75, 400)  # Hz, of voices
_PERIODIC = 0.5  # of the power of a frame that is in one pitch


def loudest(waveform: Waveform, start: float, end: float) -> float:
    """The level of the loudest twentieth of a second between two times in seconds, in dB of full scale."""
    samples = _between(waveform, start, end)
    n_blocks = -(-len(samples) // _BLOCK)
    blocks = np.zeros((n_blocks, _BLOCK), np.float32)
    blocks.ravel()[: len(samples)] = samples
    power = np.mean(np.square(blocks), axis=1).max(initial=0.0)  # of (n_blocks,)
    return max(10 * float(np.log10(max(float(power), 1e-30))), _QUIETEST)


def voiced(waveform: Waveform, start: float, end: float) -> float:
    """The share of frames of 40 ms between two times that have a pitch, as vowels do, and hums and tunes."""
    samples = _between(waveform, start, end)
    if len(samples) < _PITCH_FRAME:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, _PITCH_FRAME)[::_PITCH_HOP]  # (n_frames, 640)
    window = np.hanning(_PITCH_FRAME)
    frames = (frames - frames.mean(axis=1, keepdims=True)) * window
    own = _autocorrelation(window[None])[0]
    shape = _autocorrelation(frames)  # (n_frames, n_lags)
    first, last = SAMPLE_RATE // _PITCHES[1], SAMPLE_RATE // _PITCHES[0]
    peaks = (shape[:, first : last + 1] / own[first : last + 1]).max(axis=1)
    return float(np.mean(peaks > _PERIODIC * np.maximum(shape[:, 0] / own[0], 1e-12)))


def _autocorrelation(frames: NDArray[np.floating]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(frames, 2 * _PITCH_FRAME)
    return np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:, :_PITCH_FRAME]


def _between(waveform: Waveform, start: float, end: float) -> NDArray[np.float32]:
    return waveform.read(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
