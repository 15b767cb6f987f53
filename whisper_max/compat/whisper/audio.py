"""openai-whisper's ``whisper.audio`` on NumPy arrays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio import io, mel_array
from whisper_max.audio.mel import (
    CHUNK_LENGTH,
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    N_SAMPLES_PER_TOKEN,
    TOKENS_PER_SECOND,
)
from whisper_max.audio.mel_filters import N_FFT
from whisper_max.audio.mel_filters import mel_filters as native_filters
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.compat.errors import as_peers
from whisper_max.compat.loading import is_gpu
from whisper_max.compat.padding import padded_or_trimmed
from whisper_max.compat.sound import load_mixed
from whisper_max.compat.whisper.divide import exact_div
from whisper_max.errors import OptionError

__all__ = [
    "CHUNK_LENGTH",
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "N_FFT",
    "N_FRAMES",
    "N_SAMPLES",
    "N_SAMPLES_PER_TOKEN",
    "SAMPLE_RATE",
    "TOKENS_PER_SECOND",
    "HostArray",
    "exact_div",
    "load_audio",
    "log_mel_spectrogram",
    "mel_filters",
    "pad_or_trim",
]


class HostArray(np.ndarray[Any, np.dtype[np.float32]]):
    """A NumPy array that may be sent "to" a device: it stays where it is, and travels when a model encodes it."""

    def to(self, device: object) -> HostArray:
        """This array.

        Raises:
            OptionError: not the name of a device.
        """
        check_device(device)
        return self


def check_device(device: object) -> None:
    """Accept the name of a device, or anything that prints as one.

    Raises:
        OptionError: anything else.
    """
    if str(device) != "cpu" and not is_gpu(str(device)):
        raise OptionError("unknown device", where="device", expected="cpu, cuda or cuda:N", found=device)


def load_audio(file: str, sr: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Decode a recording to (n_samples,) float32 at ``sr`` Hz, without ffmpeg.

    Raises:
        AudioError: not decodable audio.
        OptionError: a rate that is none.
    """
    return load_mixed(file, sr, "sr")


def pad_or_trim(array: NDArray[Any], length: int = N_SAMPLES, *, axis: int = -1) -> NDArray[Any]:
    """The first ``length`` entries along an axis, with zeros after them where there are fewer."""
    return padded_or_trimmed(array, length, axis)


def mel_filters(device: object, n_mels: int) -> HostArray:
    """Slaney's triangular filters, (n_mels, 201) float32.

    Args:
        device: the name of a device; the array stays in host memory all the same.
        n_mels: 80 or 128.

    Raises:
        OptionError: ``device`` is no device, or another number of filters.
    """
    check_device(device)
    if n_mels not in (80, 128):
        raise OptionError("no Whisper model has so many", where="n_mels", expected="80 or 128", found=n_mels)
    return native_filters(n_mels).view(HostArray)


def log_mel_spectrogram(
    audio: str | os.PathLike[str] | NDArray[Any], n_mels: int = 80, padding: int = 0, device: object = None
) -> HostArray:
    """The log-mel spectrogram of a recording, (n_mels, n_frames) float32.

    Args:
        audio: a path, or (n_samples,) at 16 kHz.
        n_mels: 80 or 128.
        padding: zero samples to append first.
        device: the name of a device; the array stays in host memory all the same.

    Raises:
        AudioError: not decodable audio, or too short for one frame.
        OptionError: ``device`` is no device.
    """
    if device is not None:
        check_device(device)
    source = audio if isinstance(audio, str | os.PathLike) else np.asarray(audio)
    with as_peers():
        return mel_array.log_mel_spectrogram(io.load_audio(source), n_mels, padding).view(HostArray)
