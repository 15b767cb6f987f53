"""faster-whisper's ``faster_whisper.audio``: recordings as samples, and features of one length."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio import io
from whisper_max.audio.mel import N_FRAMES
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.compat.errors import as_peers
from whisper_max.compat.padding import padded_or_trimmed
from whisper_max.compat.sound import load_mixed, load_sides


def decode_audio(input_file: str | BinaryIO, sampling_rate: int = SAMPLE_RATE, split_stereo: bool = False) -> Any:  # noqa: ANN401 - an array, or a pair of them
    """Decode a recording, its channels mixed, to (n_samples,) float32.

    Args:
        input_file: a path or a binary file.
        sampling_rate: Hz of the result.
        split_stereo: the left and the right side, a pair of such arrays; a single channel is both.

    Raises:
        AudioError: not decodable audio.
        OptionError: a rate that is none, or sides of channels of which no speakers are known.
    """
    if split_stereo:
        return load_sides(input_file, sampling_rate)
    return load_mixed(input_file, sampling_rate, "sampling_rate")


def pad_or_trim(array: NDArray[Any], length: int = N_FRAMES, *, axis: int = -1) -> NDArray[Any]:
    """The first ``length`` frames along an axis, with zeros after them where there are fewer."""
    return padded_or_trimmed(array, length, axis)


def samples_of(audio: str | BinaryIO | NDArray[Any]) -> NDArray[np.float32]:
    """A recording of any kind as (n_samples,) float32 at 16 kHz; an array is at that rate already."""
    with as_peers():
        return io.load_audio(audio)
