"""A waveform as the rest of the package sees it: 16 kHz mono float32 samples, read by range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.warnings import AudioWarning
from whisper_max.dims import SAMPLE_RATE as SAMPLE_RATE

SAMPLE_BYTES = np.dtype(np.float32).itemsize


class Waveform(Protocol):
    """Samples of one recording at ``SAMPLE_RATE``; long ones need not be in memory."""

    @property
    def n_samples(self) -> int: ...

    @property
    def duration(self) -> float:
        """Length in seconds."""
        ...

    @property
    def warnings(self) -> Sequence[AudioWarning]:
        """What was found while the recording was decoded."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, cut at the ends of the recording, as Python slices cut; do not write to it.

        Raises:
            AudioError: the samples were spooled to disk and can't be read back.
        """
        ...


class ArrayWaveform:
    """A waveform held in memory.

    Args:
        samples: (n_samples,) float32 at ``SAMPLE_RATE``.
        warnings: what was found while they were decoded.
    """

    def __init__(self, samples: NDArray[np.float32], warnings: Sequence[AudioWarning] = ()) -> None:
        self._samples = samples
        self.warnings = warnings

    @property
    def n_samples(self) -> int:
        return len(self._samples)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` as a view."""
        return self._samples[max(start, 0) : max(stop, 0)]
