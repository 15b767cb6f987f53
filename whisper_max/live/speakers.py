"""Who tells the speakers of a stream apart; how is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.transcribe.turns import Turn


class StreamSpeakers(Protocol):
    """Finds the speakers of a stream, while it goes on."""

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples, (n_samples,) at 16 kHz."""

    def turns(self, *, final: bool = False) -> Sequence[Turn]:
        """Who speaks when, so far; speakers are numbered anew each time. final: the stream has ended."""
