"""The log-mel of a whole array at once, for programs that were written for another Whisper package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import HALF, LogMel, fill, loudest
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import AudioError


def log_mel_spectrogram(waveform: NDArray[np.float32], n_mels: int, padding: int = 0) -> NDArray[np.float32]:
    """The log-mel spectrogram of a whole array at once, openai-whisper's function of the same name.

    Args:
        waveform: (n_samples,) float32 at 16 kHz.
        n_mels: mel bins, 80 or 128.
        padding: zero samples to append first.

    Returns:
        (n_mels, (n_samples + padding) // 160) float32.

    Raises:
        AudioError: with its padding the waveform has 200 samples or fewer, too few to mirror at the ends.
    """
    if len(waveform) + padding <= HALF:
        raise AudioError(
            "too short for a spectrogram",
            expected=f"more than {HALF} samples",
            found=len(waveform) + padding,
        )
    log_mel = LogMel(ArrayWaveform(waveform), n_mels, padding)
    spectrogram = np.empty((n_mels, log_mel.n_frames), np.float32)
    if log_mel.n_frames:
        fill(spectrogram, log_mel, 0, log_mel.n_frames, loudest(log_mel))
    return spectrogram
