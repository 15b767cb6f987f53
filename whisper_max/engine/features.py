"""Encoded windows on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from max.driver import Buffer

from whisper_max.engine.tensors import rows_of, take_rows


@dataclass(frozen=True)
class EncodedWindows:
    """Audio features ``xa``, (n_windows, n_audio_ctx, n_audio_state); see ``decode.inference.AudioFeatures``."""

    xa: Buffer

    @property
    def n_windows(self) -> int:
        """How many windows were encoded."""
        return int(self.xa.shape[0])

    def select(self, windows: Sequence[int]) -> EncodedWindows:
        """Some of the windows, in the order given; neighbours share the memory of all."""
        first, n_windows = (windows[0], len(windows)) if windows else (0, 0)
        if list(windows) == list(range(first, first + n_windows)):
            return EncodedWindows(*rows_of([self.xa], slice(first, first + n_windows)))
        return EncodedWindows(take_rows(self.xa, windows))
