"""What decoding and a model say to each other whose device chooses the tokens itself: the host looks on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32, Inference, Opaque


@dataclass(frozen=True, eq=False)
class TokenMasks:
    """The rules of a transcript as masks; what they remember of it is the device's business.

    never, not_first: (n_vocab,) bool. timestamp_begin: n_vocab where timestamps have no rules.
    """

    never: NDArray[np.bool_]
    not_first: NDArray[np.bool_]
    eot: int
    timestamp_begin: int
    no_speech: int

    @cached_property
    def key(self) -> Hashable:
        """Equal for equal masks."""
        bits = (np.packbits(self.never).tobytes(), np.packbits(self.not_first).tobytes())
        return (*bits, self.eot, self.timestamp_begin, self.no_speech)


@dataclass(frozen=True)
class WindowStart:
    """A window that a device is to decode.

    prompt: the tokens before the transcript. sot: where among them it starts. limit: the most tokens. earliest: the
    timestamp before which the transcript is not over after a pair of timestamps; 0 where it may always be.
    temperature, draws: of sampling, not looked at otherwise; draws (n_hyps, n_text_ctx) float32 in [0, 1), one for each
    token.
    """

    prompt: Sequence[int]
    sot: int
    limit: int
    earliest: int
    temperature: float
    draws: Float32


@dataclass(frozen=True)
class WindowEnd:
    """What became of it: each hypothesis' tokens (the end included where it came) and summed log-probability."""

    tokens: list[list[int]]
    sum_logprobs: list[float]
    no_speech_prob: float


class DeviceBatch(Protocol):
    """Slots for windows whose tokens the device chooses."""

    @property
    def n_windows(self) -> int: ...

    def start(self, slots: Sequence[int], features: Opaque, starts: Sequence[WindowStart]) -> None:
        """Begin windows in idle slots, in increasing order."""

    def advance(self) -> None:
        """Queue one more token for every window."""

    def finished(self) -> list[int]:
        """The slots whose windows are known to be finished."""

    def take(self, slot: int) -> WindowEnd:
        """What became of a finished window; its slot is idle after it.

        Raises:
            WhisperMaxError: the error that ended it.
        """

    def drop(self, slot: int) -> None:
        """Forget a window; its slot is idle."""


@runtime_checkable
class DeviceInference(Inference, Protocol):
    """A model whose device chooses tokens. chooses_tokens: False where it was found to choose wrong ones."""

    def device_batch(self, masks: TokenMasks, n_windows: int, n_hyps: int, *, sampled: bool) -> Any:  # noqa: ANN401
        """A ``DeviceBatch`` of ``n_windows`` slots or somewhat more, or of as many as fit on the device."""

    def give_back(self, batch: Any) -> None:  # noqa: ANN401
        """Take a batch that is needed no more; another may be made of it."""
