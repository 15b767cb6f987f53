"""A waveform as the rest of the package sees it: 16 kHz mono float32 samples, read by range."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.warnings import AudioWarning
from whisper_max.dims import SAMPLE_RATE as SAMPLE_RATE
from whisper_max.errors import AudioError

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


class SpooledWaveform:
    """A waveform in a file of raw float32 samples, read piece by piece, so that hours of audio cost no memory.

    Args:
        file: an open binary file; it is not closed here.
        n_samples: how many samples it holds.
        warnings: what was found while they were decoded.
    """

    def __init__(self, file: BinaryIO, n_samples: int, warnings: Sequence[AudioWarning] = ()) -> None:
        self._file = file
        self._n_samples = n_samples
        self.warnings = warnings

    @property
    def n_samples(self) -> int:
        return self._n_samples

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, read from the file.

        Raises:
            AudioError: the file is shorter than it was, or can't be read.
        """
        start = min(max(start, 0), self._n_samples)
        stop = min(max(stop, start), self._n_samples)
        wanted = (stop - start) * SAMPLE_BYTES
        pieces: list[bytes] = []
        position = start * SAMPLE_BYTES
        while wanted > 0:
            piece = self._pread(wanted, position)
            pieces.append(piece)
            position += len(piece)
            wanted -= len(piece)
        return np.frombuffer(b"".join(pieces), np.float32)

    def _pread(self, n_bytes: int, position: int) -> bytes:
        try:
            piece = os.pread(self._file.fileno(), n_bytes, position)
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            raise AudioError("decoded samples can't be read back from the temporary file", found=error) from error
        if not piece:
            raise AudioError("the temporary file of decoded samples became shorter", where=f"byte {position}")
        return piece
