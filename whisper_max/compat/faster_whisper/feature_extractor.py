"""faster-whisper's ``FeatureExtractor``: the log-mel spectrogram that a model hears."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import CHUNK_LENGTH, HOP_LENGTH
from whisper_max.audio.mel_array import log_mel_spectrogram
from whisper_max.audio.mel_filters import N_FFT, mel_filters
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.errors import OptionError

_FIXED = {"sampling_rate": SAMPLE_RATE, "hop_length": HOP_LENGTH, "n_fft": N_FFT}


class FeatureExtractor:
    """Makes features of samples.

    Args:
        feature_size: mel bins, 80 or 128.
        chunk_length: seconds of a window.
        sampling_rate, hop_length, n_fft: those of every Whisper model, and no other.

    Raises:
        OptionError: another rate, hop or length of a frame.
    """

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = SAMPLE_RATE,
        hop_length: int = HOP_LENGTH,
        chunk_length: int = CHUNK_LENGTH,
        n_fft: int = N_FFT,
    ) -> None:
        given = {"sampling_rate": sampling_rate, "hop_length": hop_length, "n_fft": n_fft}
        for name, value in given.items():
            if value != _FIXED[name]:
                raise OptionError("no other is offered", where=name, expected=_FIXED[name], found=value)
        self.sampling_rate, self.hop_length, self.n_fft = sampling_rate, hop_length, n_fft
        self.time_per_frame = hop_length / sampling_rate
        self.mel_filters = self.get_mel_filters(sampling_rate, n_fft, feature_size)
        self._set_length(chunk_length)

    def _set_length(self, seconds: int) -> None:
        self.chunk_length = seconds
        self.n_samples = seconds * self.sampling_rate
        self.nb_max_frames = self.n_samples // self.hop_length

    @staticmethod
    def get_mel_filters(sr: int, n_fft: int, n_mels: int = 128) -> NDArray[np.float32]:
        """Slaney's triangular filters, (n_mels, 201); those of 16 kHz and frames of 400 samples."""
        if (sr, n_fft) != (SAMPLE_RATE, N_FFT):
            expected = f"{SAMPLE_RATE} Hz and frames of {N_FFT}"
            raise OptionError("no other is offered", where="sr, n_fft", expected=expected, found=f"{sr}, {n_fft}")
        return mel_filters(int(n_mels))

    def __call__(self, waveform: NDArray[Any], padding: int = 160, chunk_length: int | None = None) -> NDArray[Any]:
        """The features of samples at 16 kHz, (n_mels, (n_samples + padding) // 160) float32.

        Args:
            waveform: (n_samples,).
            padding: zero samples to append first.
            chunk_length: seconds of a window from now on; the features don't depend on it.

        Raises:
            AudioError: too short for one frame.
        """
        if chunk_length is not None:
            self._set_length(chunk_length)
        return log_mel_spectrogram(np.asarray(waveform, np.float32), len(self.mel_filters), padding)
