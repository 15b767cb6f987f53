"""Samples that nobody has looked at yet, and where among them an utterance is to end."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray


class Inbox:
    """A queue of samples with marks between them.

    Attributes:
        n_samples: how many wait.
    """

    def __init__(self) -> None:
        self._parts: deque[NDArray[np.float32] | None] = deque()  # None: a mark
        self.n_samples = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Put samples behind the others."""
        if len(samples):
            self._parts.append(samples)
            self.n_samples += len(samples)

    def mark(self) -> None:
        """Put a mark behind all samples so far."""
        self._parts.append(None)

    def take_mark(self) -> bool:
        """Take the mark that comes next; False where there is none before the next sample."""
        if self._parts and self._parts[0] is None:
            self._parts.popleft()
            return True
        return False

    def take(self, n_samples: int) -> NDArray[np.float32] | None:
        """The next samples: as many as asked for, or fewer before a mark; None where there are too few yet."""
        taken: list[NDArray[np.float32]] = []
        missing = n_samples
        while missing and self._parts and (part := self._parts[0]) is not None:
            taken.append(part[:missing])
            missing -= len(taken[-1])
            self._parts.popleft()
            if len(taken[-1]) < len(part):
                self._parts.appendleft(part[len(taken[-1]) :])
        samples = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        if not missing or (len(samples) and self._parts):
            self.n_samples -= len(samples)
            return samples
        if len(samples):
            self._parts.appendleft(samples)
        return None

    def clear(self) -> None:
        """Forget the samples and marks that wait."""
        self._parts.clear()
        self.n_samples = 0
