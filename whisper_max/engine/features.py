"""Encoded windows on the model's device, with their cross-attention keys and values once those are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from max.driver import Buffer

from whisper_max.engine.tensors import take_rows

CrossKVGraph = Callable[[Buffer], list[Buffer]]
"""xa -> cross keys of all layers, then cross values."""


class EncodedWindows:
    """Audio features ``xa``, (n_windows, n_audio_ctx, n_audio_state); see ``decode.inference.AudioFeatures``."""

    def __init__(self, xa: Buffer, make_cross_kv: CrossKVGraph) -> None:
        self.xa = xa
        self._make_cross_kv = make_cross_kv
        self._cross_kv: list[Buffer] | None = None

    @property
    def n_windows(self) -> int:
        """How many windows were encoded."""
        return int(self.xa.shape[0])

    def cross_kv(self) -> list[Buffer]:
        """Keys of all layers, then values, each (n_windows, H, n_audio_ctx, hd): computed once, not to be written."""
        if self._cross_kv is None:
            self._cross_kv = self._make_cross_kv(self.xa)
        return self._cross_kv

    def select(self, windows: Sequence[int]) -> EncodedWindows:
        """Some of the windows, in the order given."""
        if list(windows) == list(range(self.n_windows)):
            return self
        selected = EncodedWindows(take_rows(self.xa, windows), self._make_cross_kv)
        if self._cross_kv is not None:
            selected._cross_kv = [take_rows(side, windows) for side in self._cross_kv]
        return selected
