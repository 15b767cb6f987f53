"""From a stream of samples in any rate to 16 kHz mono, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from whisper_max.audio.block import Block
from whisper_max.audio.io import check_sound
from whisper_max.audio.mix import Mixer
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.errors import AudioError, OptionError

MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz
MAX_CHANNELS = 64
_FULL_SCALE = np.float32(32768)  # of 16-bit samples


class Intake:
    """Checks, mixes channels and resamples; what comes out does not depend on how the stream was cut into chunks.

    Args:
        sampling_rate: of the stream, in Hz.
        channels: of the stream.

    Raises:
        OptionError: an impossible rate or number of channels.
    """

    def __init__(self, sampling_rate: int = SAMPLE_RATE, channels: int = 1) -> None:
        if not MIN_RATE <= sampling_rate <= MAX_RATE:
            expected = f"{MIN_RATE} to {MAX_RATE} Hz"
            raise OptionError("out of range", where="sampling_rate", expected=expected, found=sampling_rate)
        if not 1 <= channels <= MAX_CHANNELS:
            raise OptionError("out of range", where="channels", expected=f"1 to {MAX_CHANNELS}", found=channels)
        self.channels = channels
        self._sampling_rate = sampling_rate
        self._n_taken = 0  # samples of each channel
        self._mixer = Mixer(None, channels, sampling_rate)
        self._resampler: soxr.ResampleStream | None = None
        if sampling_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sampling_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def convert(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """The next samples at 16 kHz, a copy; some wait in the resampler and, of several channels, in the mixer.

        Args:
            samples: (n_samples,) of one channel or (n_samples, channels); int16, or floats of about -1..1.

        Raises:
            AudioError: another shape or dtype, or a sample that is no sound, as in ``audio.io``; nothing is taken.
        """
        return self._resampled(self._mono(samples), last=False)

    def flush(self) -> NDArray[np.float32]:
        """What still waits; nothing may come after it."""
        rest = self._mixer.mix(np.zeros((0, self.channels), np.float32), last=True)
        return self._resampled(rest, last=True)

    @property
    def warnings(self) -> list[AudioWarning]:
        """What was found in the stream so far: channels that would have cancelled each other."""
        found = self._mixer.warning()
        return [] if found is None else [found]

    def _mono(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        if samples.ndim not in (1, 2) or (samples.shape[1] if samples.ndim == 2 else 1) != self.channels:
            expected = "(n_samples,)" if self.channels == 1 else f"(n_samples, {self.channels})"
            raise AudioError("wrong shape of a live chunk", expected=expected, found=samples.shape)
        if samples.dtype == np.int16:
            values = samples.astype(np.float32) / _FULL_SCALE
        elif samples.dtype.kind == "f":
            with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which is refused below
                values = samples.astype(np.float32)
        else:
            raise AudioError("wrong dtype of a live chunk", expected="int16 or floating point", found=samples.dtype)
        frames = values.reshape(-1, self.channels)
        check_sound(Block(self._sampling_rate, frames), self._n_taken, "live stream")
        self._n_taken += len(frames)
        return self._mixer.mix(frames)

    def _resampled(self, mono: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        if self._resampler is None:
            return mono
        resampled: NDArray[np.float32] = self._resampler.resample_chunk(mono, last=last)
        return resampled
