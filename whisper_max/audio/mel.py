"""The log-mel spectrogram that Whisper listens to, in NumPy and in bounded memory.

The steps are openai-whisper's (``audio.py``): frames of 25 ms every 10 ms, periodic Hann window, power spectrum,
Slaney mel filters, log10 cut at 1e-10 and at 8 decades below the loudest value of the whole recording, scaled to
about -1..1. The Fourier transform is taken in float64, so that the result is the formula's, rounded once. The
reference's own float32 transform is up to 7e-5 away from it, in bins far below a loud neighbour.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_max.audio.mel_filters import N_FFT, N_FREQS, mel_filters
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.dims import CHUNK_LENGTH as CHUNK_LENGTH
from whisper_max.dims import FRAMES_PER_SECOND as FRAMES_PER_SECOND
from whisper_max.dims import HOP_LENGTH as HOP_LENGTH

N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE  # 480000 samples per window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 mel frames per window
N_SAMPLES_PER_TOKEN = 2 * HOP_LENGTH  # 320: the second convolution has stride 2
TOKENS_PER_SECOND = SAMPLE_RATE // N_SAMPLES_PER_TOKEN  # 50 encoder positions, 20 ms each

HALF = N_FFT // 2  # a frame reaches this far to both sides of its centre
_BLOCK = 128  # frames computed together; always the same frames, so that a value never depends on who asks for it
_ROWS = 8  # frames in one product: so small that BLAS wakes no threads, which would wait for the engine's to yield
_LOG_FLOOR = np.float32(-10.0)  # log-mel of digital silence: log10 of the least power, 1e-10
_DYNAMIC_RANGE = np.float32(8.0)  # decades kept below the loudest value
_KEPT_FRAMES = 10 * 60 * FRAMES_PER_SECOND  # recordings up to 10 minutes keep their log-mel: 19 MB at 80 bins


@lru_cache(maxsize=1)
def hann_window() -> NDArray[np.float64]:
    """Periodic Hann window (400,) with the float32 values that the reference uses, its rounded angles included."""
    angles = np.arange(N_FFT, dtype=np.float32) * np.float32(2.0 * np.pi / N_FFT)
    cosines = np.cos(angles.astype(np.float64)).astype(np.float32)
    window = np.float32(0.5) - np.float32(0.5) * cosines
    return window.astype(np.float64)


class LogMel:
    """Unscaled log10 mel of a waveform followed by ``padding`` zero samples, block by block of ``_BLOCK`` frames."""

    def __init__(self, waveform: Waveform, n_mels: int, padding: int) -> None:
        self._waveform = waveform
        self._filters = mel_filters(n_mels)
        self._length = waveform.n_samples + padding
        self.n_mels = n_mels
        self.n_frames = self._length // HOP_LENGTH
        self.n_blocks = -(-self.n_frames // _BLOCK)
        self._kept: dict[int, NDArray[np.float32]] | None = {} if self.n_frames <= _KEPT_FRAMES else None

    def block(self, index: int) -> NDArray[np.float32]:
        """Frames ``index * _BLOCK`` onward: (_BLOCK, n_mels) float32; rows past ``n_frames`` mean nothing."""
        if self._kept is None:
            return self._compute(index)
        if index not in self._kept:
            self._kept[index] = self._compute(index)
        return self._kept[index]

    def _compute(self, index: int) -> NDArray[np.float32]:
        start = index * _BLOCK * HOP_LENGTH - HALF
        if start >= self._waveform.n_samples and start + _BLOCK * HOP_LENGTH + N_FFT <= self._length:
            return np.full((_BLOCK, self.n_mels), _LOG_FLOOR)  # nothing but padding
        samples = self._read(start, start + (_BLOCK - 1) * HOP_LENGTH + N_FFT)
        frames = sliding_window_view(samples, N_FFT)[::HOP_LENGTH]  # (_BLOCK, 400)
        spectrum = np.fft.rfft(frames * hann_window())  # (_BLOCK, 201) complex128
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        mel = (power.reshape(-1, _ROWS, N_FREQS) @ self._filters.T).reshape(_BLOCK, -1)  # (_BLOCK, n_mels)
        log_mel: NDArray[np.float64] = np.log10(np.maximum(mel, np.float32(1e-10)).astype(np.float64))
        return log_mel.astype(np.float32)

    def _read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples of the padded signal, mirrored at both of its ends without repeating the end sample."""
        samples = np.zeros(stop - start)
        found = self._waveform.read(max(start, 0), stop)
        offset = max(-start, 0)
        samples[offset : offset + len(found)] = found
        if start < 0:  # signal[-i] = signal[i]
            samples[:offset] = samples[2 * offset : offset : -1]
        beyond = stop - self._length
        if beyond > 0:  # signal[length + i] = signal[length - 2 - i]; only the last frame sees it, at most 40 samples
            end = len(samples) - beyond
            mirrored = min(beyond, HOP_LENGTH)
            samples[end : end + mirrored] = samples[end - 1 - mirrored : end - 1][::-1]
        return samples


class MelWindows:
    """The log-mel windows of one recording, computed when asked for.

    Equal, to the last bit, to slices of ``log_mel_spectrogram(waveform, n_mels, padding=N_SAMPLES)``: openai-whisper
    pads the recording with 30 s of silence and scales by its loudest value. That value takes one pass over the whole
    recording, made at the first window. Recordings longer than 10 minutes are transformed once more, window by
    window, and nothing but one block of frames is held.

    Args:
        waveform: the recording.
        n_mels: mel bins, from the model's dimensions.
    """

    def __init__(self, waveform: Waveform, n_mels: int) -> None:
        self._log_mel = LogMel(waveform, n_mels, padding=N_SAMPLES)
        self.n_mels = n_mels

    @property
    def n_frames(self) -> int:
        """Frames of content, without the padding: ``n_samples // HOP_LENGTH``."""
        return self._log_mel.n_frames - N_FRAMES

    def window(self, seek: int, segment_size: int = N_FRAMES) -> NDArray[np.float32]:
        """The encoder's input for the window at frame ``seek``.

        The first ``segment_size`` frames are the recording's (and then its padding's); the others are 0.0, as
        openai-whisper's ``pad_or_trim`` leaves them.

        Args:
            seek: first frame, 10 ms each, not negative.
            segment_size: frames to take, 0 to 3000.

        Returns:
            (n_mels, 3000) float32, C-contiguous.

        Raises:
            AudioError: a spooled recording can't be read back.
        """
        if seek < 0 or not 0 <= segment_size <= N_FRAMES:
            raise ValueError(f"no window of {segment_size} frames at frame {seek}")
        window = np.zeros((self.n_mels, N_FRAMES), np.float32)
        fill(window, self._log_mel, seek, min(seek + segment_size, self._log_mel.n_frames), self._log_max)
        return window

    @cached_property
    def _log_max(self) -> np.float32:
        return loudest(self._log_mel)


def loudest(log_mel: LogMel) -> np.float32:
    """The largest value of a log-mel, which takes a pass over it."""
    n_frames = log_mel.n_frames  # rows past it mean nothing
    return max(log_mel.block(index)[: n_frames - index * _BLOCK].max() for index in range(log_mel.n_blocks))


def fill(out: NDArray[np.float32], log_mel: LogMel, start: int, stop: int, log_max: np.float32) -> None:
    """Write the scaled frames ``start`` to ``stop`` into the first columns of ``out``."""
    lowest = log_max - _DYNAMIC_RANGE
    for index in range(start // _BLOCK, -(-stop // _BLOCK)):
        first = index * _BLOCK
        begin, end = max(start, first), min(stop, first + _BLOCK)
        frames = np.maximum(log_mel.block(index)[begin - first : end - first], lowest)
        out[:, begin - start : end - start] = ((frames + np.float32(4.0)) / np.float32(4.0)).T
