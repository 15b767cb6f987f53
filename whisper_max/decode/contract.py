"""What decoding and a model say to each other: plain values and small protocols, so that neither needs the other.

A batch has slots for windows, each with ``n_hyps`` hypotheses that share the window's audio; its rows are ordered slot
by slot, so row = slot * n_hyps + hypothesis. Here the host chooses the tokens; where a device can choose them itself,
the two speak by ``device_contract``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.alignment import Align as Align
from whisper_max.decode.alignment import Alignment as Alignment
from whisper_max.dims import ModelDimensions

Float32 = NDArray[np.float32]
Opaque: TypeAlias = Any
"""What a model's own ``encode`` returned; nobody else looks inside."""


class AudioFeatures(Protocol):
    """Encoded windows ``xa`` of shape (n_windows, n_audio_ctx, n_audio_state), on the model's device."""

    @property
    def n_windows(self) -> int: ...

    def select(self, windows: Sequence[int]) -> AudioFeatures:
        """The features of some of the windows, in the order given."""


class DecoderBatch(Protocol):
    """A KV cache and the cross-KV of its windows: the mutable state of decoding, for as many as it was made for."""

    @property
    def n_windows(self) -> int: ...

    @property
    def n_hyps(self) -> int: ...

    def put(self, windows: Sequence[int], features: Opaque) -> None:
        """Give some slots their audio: the cross-KV of these features. Each must be prefilled before the next step.

        Args:
            windows: slots that are taken, whose windows are dropped, or the ones next in line, in their order.
            features: what this model's ``encode`` returned, one window for each slot.
        """

    def keep(self, windows: Sequence[int]) -> None:
        """Shrink to these windows, in this order; the others are dropped.

        Each stays where it is, or comes from beyond the new end.
        """

    def prefill(
        self, windows: Sequence[int], prompts: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]
    ) -> Float32:
        """Start (or restart) some windows from their prompts; the others keep their state.

        Args:
            windows: the slots to start.
            prompts: the prompt tokens of each of those windows; lengths may differ, each 1..n_text_ctx.
            positions: for each window the prompt positions whose logits are wanted (negative counts from the end);
                the same number of positions for every window.

        Returns:
            logits, shape (len(windows), n_positions, n_vocab), float32: owned by the caller. All hypotheses of a
            window are now copies of its prompt.
        """

    def step(self, tokens: NDArray[np.int32]) -> Float32:
        """Append one token to every row. tokens: (n_windows * n_hyps,). Returns logits (n_windows * n_hyps, n_vocab)
        float32, valid until the next call on this batch; the caller may overwrite them.

        Rows that are finished may be fed any token; what they return is meaningless but finite.
        """

    def reorder(self, rows: NDArray[np.int32]) -> None:
        """Row i takes over the history of row ``rows[i]``; both must belong to the same window."""

    def align(self, window: int, tokens: Sequence[int], n_competing: int) -> Alignment:
        """Teacher-force a window's tokens and return what word timing needs (only called when words are asked)."""


class Inference(Protocol):
    """The model as decoding sees it.

    encode_size: windows that are best encoded together, where there are as many. chooses_tokens: True for a
    ``DeviceInference`` whose device is to choose the tokens.
    """

    @property
    def dims(self) -> ModelDimensions: ...

    @property
    def encode_size(self) -> int: ...

    @property
    def chooses_tokens(self) -> bool: ...

    def encode(self, mel: Float32) -> AudioFeatures:
        """mel: (n_windows, n_mels, n_frames) float32 -> audio features, one row a window."""

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> DecoderBatch:
        """An empty decoder batch with room for some windows."""
