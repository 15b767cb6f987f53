"""The audio that a live transcription still needs, by its place in the stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class StreamBuffer:
    """Samples ``start`` to ``end`` of a stream, in one array that is never larger than ``capacity``.

    Args:
        capacity: most samples.
    """

    def __init__(self, capacity: int) -> None:
        self._samples = np.zeros(capacity, np.float32)
        self.start = 0
        self.end = 0

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def room(self) -> int:
        """How many samples may still be appended."""
        return len(self._samples) - len(self)

    def append(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples of the stream.

        Raises:
            ValueError: there is no room for them.
        """
        if len(samples) > self.room:
            raise ValueError(f"no room for {len(samples)} samples")
        self._samples[len(self) : len(self) + len(samples)] = samples
        self.end += len(samples)

    def drop_before(self, position: int) -> None:
        """Forget what comes before a place in the stream, all of it at most."""
        first = min(max(position, self.start), self.end)
        kept = self._samples[first - self.start : len(self)].copy()
        self._samples[: len(kept)] = kept
        self.start = first

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """A copy of samples ``start`` to ``stop`` of the stream, as far as they are here."""
        first, last = max(start, self.start), min(stop, self.end)
        return self._samples[first - self.start : max(last, first) - self.start].copy()

    def skip(self, n_samples: int) -> None:
        """Forget everything, and leave out the next samples of the stream."""
        self.end += n_samples
        self.start = self.end
