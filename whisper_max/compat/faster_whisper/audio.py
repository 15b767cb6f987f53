"""faster-whisper's ``decode_audio``."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio import io
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.errors import OptionError


def decode_audio(
    input_file: str | BinaryIO, sampling_rate: int = SAMPLE_RATE, split_stereo: bool = False
) -> NDArray[np.float32]:
    """Decode a recording to (n_samples,) float32 at 16 kHz, its channels averaged.

    Raises:
        AudioError: not decodable audio.
        OptionError: another rate, or channels one by one: neither is offered.
    """
    if sampling_rate != SAMPLE_RATE:
        expected = f"{SAMPLE_RATE} Hz"
        raise OptionError("no other is offered", where="sampling_rate", expected=expected, found=sampling_rate)
    if split_stereo:
        raise OptionError("not offered", where="split_stereo", hint="read the channels with soundfile")
    return io.load_audio(input_file)


def samples_of(audio: str | BinaryIO | NDArray[Any]) -> NDArray[np.float32]:
    """A recording of any kind as (n_samples,) float32 at 16 kHz; an array is at that rate already."""
    return io.load_audio(audio)
