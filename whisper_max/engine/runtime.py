"""What runs on a device: compiled graphs, and the values that are moved there and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from max.driver import CPU, Buffer, Device
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.hardware.forks import check_process
from whisper_max.hardware.timers import late_timers

if TYPE_CHECKING:
    from max._core import engine

MASKED = np.float32(-1e30)
"""What is added to a forbidden score: far below any score, and finite."""


class Graph(Protocol):
    """One compiled graph."""

    def execute(self, *inputs: Buffer) -> Sequence[Buffer]:
        """Run it."""
        ...


class HostGraph:
    """A compiled graph on a CPU. model: of ``max._core.engine``, see ``loading``."""

    ran = False
    """Whether any graph has run in this process."""

    def __init__(self, model: engine.Model) -> None:
        self._run = model._execute_device_tensors

    def execute(self, *inputs: Buffer) -> Sequence[Buffer]:
        """Run it."""
        outputs: Sequence[Buffer]
        if HostGraph.ran:
            outputs = self._run(list(inputs))
            return outputs
        with late_timers():  # now MAX starts the thread that writes its log
            outputs = self._run(list(inputs))
        HostGraph.ran = True
        return outputs


@dataclass(frozen=True)
class Placement:
    """A device and the dtype of the caches on it; cross keys and values may have another.

    All that is given to a device or taken from it goes through here, and raises ``DeviceError`` in a forked process.
    """

    device: Device
    dtype: DType

    def put(self, array: NDArray[Any]) -> Buffer:
        """A host array on the device, in its own dtype; shares its memory where the device is the host."""
        check_process()
        buffer = Buffer.from_numpy(np.ascontiguousarray(array))
        return buffer if self.device.is_host else buffer.to(self.device)

    def get(self, buffer: Buffer) -> NDArray[Any]:
        """A device buffer as a host array; shares its memory where the device is the host."""
        check_process()
        array: NDArray[Any] = (buffer if self.device.is_host else buffer.to(CPU())).to_numpy()
        return array

    def zeros(self, shape: Sequence[int], dtype: DType | None = None) -> Buffer:
        """A zeroed buffer, in the caches' dtype by default; on the host pages are only taken when they are written."""
        check_process()
        dtype = dtype or self.dtype
        if self.device.is_host and dtype in (DType.float32, DType.float16, DType.int8):
            return Buffer.from_numpy(np.zeros(shape, dtype.to_numpy()))
        return Buffer.zeros(shape, dtype, device=self.device)


@lru_cache(maxsize=8)
def causal_mask(length: int) -> NDArray[np.float32]:
    """(length, length) float32 to add to scores: 0 up to the diagonal, ``MASKED`` above it."""
    return np.triu(np.full((length, length), MASKED, np.float32), 1)


def prompt_inputs(
    prompts: Sequence[Sequence[int]], wanted: Iterable[tuple[int, int]], n_hyps: int
) -> list[NDArray[Any]]:
    """What the graph ``prefill`` takes before its caches, by its names and in its order.

    Args:
        prompts: the tokens of each window.
        wanted: the window and the position in its prompt (negative counts from the end) of each row of logits.
        n_hyps: rows of the cache that take each prompt.
    """
    length = max(map(len, prompts))
    tokens = np.zeros((len(prompts), length), np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    positions = np.arange(length, dtype=np.int32)
    mask = causal_mask(length)
    logit_rows = np.array([window * length + at % len(prompts[window]) for window, at in wanted], np.int32)
    window_of_row = np.repeat(np.arange(len(prompts), dtype=np.int32), n_hyps)
    return [tokens, positions, mask, logit_rows, window_of_row]


def runs_of(slots: Sequence[int]) -> list[slice]:
    """The stretches of consecutive slots in a list, as slices of it."""
    breaks = [index for index in range(1, len(slots)) if slots[index] != slots[index - 1] + 1]
    return [slice(start, stop) for start, stop in pairwise([0, *breaks, len(slots)]) if start < stop]


def rows_of(buffers: Sequence[Buffer], rows: slice) -> list[Buffer]:
    """A stretch of leading rows of each buffer, sharing its memory."""
    return [_rows_of(buffer, rows) for buffer in buffers]


def _rows_of(buffer: Buffer, rows: slice) -> Buffer:
    whole = rows.start == 0 and rows.stop == buffer.shape[0]
    return buffer if whole else buffer[(rows, *[slice(None)] * (buffer.rank - 1))]
