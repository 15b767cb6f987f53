"""Moving values between NumPy and a device, and taking rows of device buffers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from max.driver import CPU, Buffer, Device
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.hardware.forks import check_process

MASKED = np.float32(-1e30)
"""What is added to a forbidden score: far below any score, and finite."""


@dataclass(frozen=True)
class Placement:
    """A device and the dtype of the caches on it.

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

    def floats(self, buffer: Buffer) -> NDArray[np.float32]:
        """A device buffer of any floating dtype as a host array of float32; NumPy has no bfloat16."""
        if buffer.dtype != DType.bfloat16:
            return self.get(buffer).astype(np.float32, copy=False)
        check_process()
        host = buffer if self.device.is_host else buffer.to(CPU())
        bits = host.view(DType.uint16, host.shape).to_numpy().astype(np.uint32) << 16
        widened: NDArray[np.float32] = bits.view(np.float32)
        return widened

    def zeros(self, shape: Sequence[int]) -> Buffer:
        """A zeroed buffer in the caches' dtype; on the host its pages are only taken when they are written."""
        check_process()
        if self.device.is_host and self.dtype in (DType.float32, DType.float16):
            return Buffer.from_numpy(np.zeros(shape, self.dtype.to_numpy()))
        return Buffer.zeros(shape, self.dtype, device=self.device)


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


def take_rows(buffer: Buffer, rows: Sequence[int]) -> Buffer:
    """A new buffer of some leading rows, in the order given."""
    taken = Buffer(dtype=buffer.dtype, shape=(len(rows), *buffer.shape[1:]), device=buffer.device)
    for index, row in enumerate(rows):
        copy_row(taken, index, buffer, row)
    return taken


def copy_row(target: Buffer, row: int, source: Buffer, source_row: int) -> None:
    """Copy one leading row of a buffer into another; done when this returns, or before what the device does next.

    On the host the copy runs beside the graphs that are started after it, so it has to be waited for.
    """
    _rows_of(target, slice(row, row + 1)).inplace_copy_from(_rows_of(source, slice(source_row, source_row + 1)))
    if target.device.is_host:
        target.device.synchronize()
